// Integer atomics on device memory and on shared memory.
#pragma once

#include <cuda_on_cpu/shared.h>

#include <concepts>
#include <type_traits>

namespace cuda_on_cpu {

// What CUDA's integer atomics take; std::uint64_t is another type than unsigned long long, there as here.
template <class T>
concept AtomicWord = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;
template <class T>
concept AtomicOrdered = AtomicWord<T> || std::same_as<T, long long>;

template <class P>
struct PointeeOf;
template <class T>
struct PointeeOf<T*> {
  using Type = T;
};
template <class T>
struct PointeeOf<SharedPointer<T>> {
  using Type = T;
};
template <class P>
using Pointee = typename PointeeOf<P>::Type;

// Threads switch only where they wait, so a plain update is atomic.
template <class T, class F>
T update(T* p, F f) {
  const T old = *p;
  *p = f(old);
  return old;
}
template <class T, class F>
T update(SharedPointer<T> p, F f) {
  return (*p).update(f);
}

}  // namespace cuda_on_cpu

template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicAdd(P p, std::type_identity_t<T> v) {
  using U = std::make_unsigned_t<T>;
  return cuda_on_cpu::update(p,
                             [v](T old) { return static_cast<T>(static_cast<U>(old) + static_cast<U>(v)); });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicSub(P p, std::type_identity_t<T> v) {
  using U = std::make_unsigned_t<T>;
  return cuda_on_cpu::update(p,
                             [v](T old) { return static_cast<T>(static_cast<U>(old) - static_cast<U>(v)); });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicExch(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T) { return v; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicCAS(P p, std::type_identity_t<T> compare,
                                                std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [compare, v](T old) { return old == compare ? v : old; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicOrdered<T> T atomicMin(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return v < old ? v : old; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicOrdered<T> T atomicMax(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return old < v ? v : old; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicAnd(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return old & v; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicOr(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return old | v; });
}
template <class P, class T = cuda_on_cpu::Pointee<P>>
requires cuda_on_cpu::AtomicWord<T> T atomicXor(P p, std::type_identity_t<T> v) {
  return cuda_on_cpu::update(p, [v](T old) { return old ^ v; });
}
