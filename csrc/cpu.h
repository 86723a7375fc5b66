/* What the data path needs of the processor. */
#ifndef VDP_CPU_H
#define VDP_CPU_H

#include <stdint.h>
#include <time.h>

#define VDP_LIKELY(x)   __builtin_expect(!!(x), 1)
#define VDP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define VDP_CACHE_LINE  64

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are read as they lie: little endian");

static inline void vdp_prefetch(const void *addr)
{
	__builtin_prefetch(addr, 0);
}

/* For a line that is going to be written: ask for it exclusively. */
static inline void vdp_prefetch_write(const void *addr)
{
#ifdef __x86_64__
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)addr));
#else
	__builtin_prefetch(addr, 1);
#endif
}

static inline void vdp_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* A counter that runs at a constant rate; 0 where there is none. */
static inline uint64_t vdp_tsc(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return ticks;
#else
	return 0;
#endif
}

static inline uint64_t vdp_now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#endif
