// Intrusive doubly linked lists: membership costs no allocation, leaving is O(1).
#pragma once

#include <cstddef>

namespace tidewire {

/// Base of an object that can be on one list of kind `Tag`. An object on several lists derives from
/// several ListNodes with different tags. Must not move or die while linked.
template <typename Tag>
class ListNode {
 public:
  constexpr ListNode() noexcept = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;

  bool linked() const noexcept { return next_ != nullptr; }
  /// Leaves the list it is on, if any.
  void unlink() noexcept {
    if (!linked()) return;
    prev_->next_ = next_;
    next_->prev_ = prev_;
    prev_ = next_ = nullptr;
  }

 private:
  template <typename T, typename Tag2>
  friend class List;

  void insert_before(ListNode& position) noexcept {
    prev_ = position.prev_;
    next_ = &position;
    prev_->next_ = this;
    position.prev_ = this;
  }

  ListNode* prev_ = nullptr;
  ListNode* next_ = nullptr;
};

/// A list of objects derived from ListNode<Tag>. Does not own them; the order is the order of
/// insertion. Does not move; its nodes are unlinked when it is destroyed.
template <typename T, typename Tag>
class List {
 public:
  using Node = ListNode<Tag>;

  List() noexcept { reset(); }
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() { clear(); }

  bool empty() const noexcept { return head_.next_ == &head_; }
  T* front() noexcept { return empty() ? nullptr : cast(head_.next_); }
  T* back() noexcept { return empty() ? nullptr : cast(head_.prev_); }
  const T* front() const noexcept { return const_cast<List*>(this)->front(); }
  /// The neighbour after `object`, which is on this list; null at the end.
  T* next(T& object) noexcept {
    Node* node = static_cast<Node&>(object).next_;
    return node == &head_ ? nullptr : cast(node);
  }

  /// Links at the end; an object that is on a list of this kind leaves it first.
  void push_back(T& object) noexcept {
    Node& node = object;
    node.unlink();
    node.insert_before(head_);
  }
  void push_front(T& object) noexcept {
    Node& node = object;
    node.unlink();
    node.insert_before(*head_.next_);
  }
  /// Unlinks and returns the first object; null if empty.
  T* pop_front() noexcept {
    T* first = front();
    if (first != nullptr) static_cast<Node*>(first)->unlink();
    return first;
  }
  static void remove(T& object) noexcept { static_cast<Node&>(object).unlink(); }
  /// Moves everything from `other` to the end of this list, in order; O(1).
  void splice_back(List& other) noexcept {
    if (other.empty()) return;
    Node* first = other.head_.next_;
    Node* last = other.head_.prev_;
    first->prev_ = head_.prev_;
    head_.prev_->next_ = first;
    last->next_ = &head_;
    head_.prev_ = last;
    other.reset();
  }
  void clear() noexcept {
    while (pop_front() != nullptr) {
    }
    reset();
  }

  /// Forward iteration. The object at the iterator may be unlinked only after advancing.
  class Iterator {
   public:
    Iterator() noexcept = default;
    T& operator*() const noexcept { return *cast(node_); }
    T* operator->() const noexcept { return cast(node_); }
    Iterator& operator++() noexcept {
      node_ = List::after(node_);
      return *this;
    }
    friend bool operator==(const Iterator&, const Iterator&) noexcept = default;

   private:
    friend class List;
    explicit Iterator(Node* node) noexcept : node_(node) {}
    Node* node_ = nullptr;
  };
  Iterator begin() noexcept { return Iterator{head_.next_}; }
  Iterator end() noexcept { return Iterator{&head_}; }

 private:
  static T* cast(Node* node) noexcept { return static_cast<T*>(node); }
  static Node* after(Node* node) noexcept { return node->next_; }
  void reset() noexcept { head_.prev_ = head_.next_ = &head_; }

  Node head_;
};

}  // namespace tidewire
