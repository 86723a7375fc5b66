#include "ring_watch.h"

#include <errno.h>
#include <string.h>

#include "cpu.h"

#define WATCH_SPINS 1024u /* between two looks at the clock */

int vdp_watch_run(struct vdp_watch *watch, uint64_t timeout_ns)
{
	uint64_t end = vdp_now_ns(CLOCK_MONOTONIC) + timeout_ns;
	uint32_t spins = 0;

	__atomic_store_n(&watch->watching, 1, __ATOMIC_RELEASE);
	while ((__atomic_load_n(watch->word, __ATOMIC_ACQUIRE) & watch->mask) == watch->was) {
		if (++spins % WATCH_SPINS == 0 && vdp_now_ns(CLOCK_MONOTONIC) > end)
			return -ETIMEDOUT;
		vdp_relax();
	}
	for (uint32_t i = 0; i < watch->count && i < VDP_WATCH_AREAS; i++)
		memcpy(watch->areas[i].to, watch->areas[i].from, watch->areas[i].length);
	return 0;
}
