// A static program with its own way to the kernel: no libc that could be hooked, non-blocking sockets,
// epoll, goroutines, signals of its own for preemption.
//
//	gonet get URL FILE...     fetches the URL once a file, all at once
//	gonet serve ADDRESS FILE  serves the file (http.ServeFile uses sendfile) until SIGTERM
//	gonet echo N SIZE         N connections to a listener of its own, SIZE bytes echoed over each
package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
)

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func get(url, name string) error {
	response, err := http.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, response.Body)
	return err
}

func echo(listener net.Listener, data []byte) error {
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}
	defer connection.Close()
	go func() {
		connection.Write(data)
		connection.(*net.TCPConn).CloseWrite()
	}()
	back, err := io.ReadAll(connection)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return fmt.Errorf("%d bytes came back, %d were sent", len(back), len(data))
	}
	return nil
}

func serveEcho(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			io.Copy(connection, connection)
			connection.Close()
		}()
	}
}

func all(count int, each func(int) error) {
	var group sync.WaitGroup
	for i := 0; i < count; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			fail(each(i))
		}(i)
	}
	group.Wait()
}

func main() {
	switch os.Args[1] {
	case "get":
		names := os.Args[3:]
		all(len(names), func(i int) error { return get(os.Args[2], names[i]) })
	case "serve":
		http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, os.Args[3]) })
		fail(http.ListenAndServe(os.Args[2], nil))
	case "echo":
		count, _ := strconv.Atoi(os.Args[2])
		size, _ := strconv.Atoi(os.Args[3])
		data := make([]byte, size)
		rand.Read(data)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		fail(err)
		go serveEcho(listener)
		all(count, func(int) error { return echo(listener, data) })
		fmt.Printf("%d echoes %x\n", count, sha256.Sum256(data))
	}
}
