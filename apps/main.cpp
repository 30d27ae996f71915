#include <cstdio>
int main() { std::puts("tidewire"); }
