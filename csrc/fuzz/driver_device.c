/* The device that a driver's half is fuzzed against: now honest, now not. */
#include "driver_state.h"

/* Write an entry, and go on behind so many chains that take so many descriptors. */
static void device_writes(
    struct run *run, uint32_t id, uint32_t length, bool lie, uint32_t chains, uint32_t slots)
{
	uint8_t *split = run->used + 4 + 8 * (run->device_at % run->conf.size);
	uint8_t *packed = run->desc + 16 * (run->device_at & 0x7fff);

	if (run->packed) {
		store(packed + 8, length, 4);
		store(packed + 12, id, 2);
		store(packed + 14, vdp_packed_used_flags(run->device_at) | (lie ? 0 : VDP_PACKED_WRITE), 2);
	} else {
		store(split, id, 4);
		store(split + 4, length, 4);
	}
	run->device_at = advance(run, run->device_at, run->packed ? slots : chains);
	if (!run->packed)
		store(run->used + 2, run->device_at, 2);
}

static void device_uses(struct run *run, uint32_t id, uint32_t length, bool lie)
{
	uint32_t slots = id < run->conf.size && run->owned[id].length ? run->owned[id].length : 1;

	device_writes(run, id, length, lie, 1, slots);
}

/* A batch of some chains, from the oldest that it has on. */
static void device_batch(struct run *run, struct fuzz_input *in)
{
	uint32_t want = 1 + fuzz_u8(in) % 4u, chains = 0, slots = 0, last = 0, id;

	if (run->device_serial < run->popped)
		run->device_serial = run->popped;
	while (chains < want && run->device_serial < run->published) {
		id = find_chain(run, run->device_serial);
		if (id >= run->conf.size)
			return;
		run->device_serial++;
		slots += run->owned[id].length;
		last = id;
		chains++;
	}
	if (chains) {
		uint32_t room = run->owned[last].writable;

		device_writes(run, last, room ? fuzz_u8(in) % room : 0, false, chains, slots);
	}
}

/* The n-th of the chains that the device has and did not give back. */
void device_honest(struct run *run, struct fuzz_input *in)
{
	uint8_t which = fuzz_u8(in);

	if (in_order(run)) {
		device_batch(run, in);
		return;
	}
	for (uint32_t i = 0; i < run->conf.size; i++) {
		uint32_t id = (i + which) % run->conf.size;
		const struct owned *owned = run->owned + id;

		if (!owned->length || owned->serial >= run->published)
			continue;
		device_uses(run, id, owned->writable ? fuzz_u8(in) % owned->writable : 0, false);
		return;
	}
}

void device_lies(struct run *run, struct fuzz_input *in, uint8_t how)
{
	const struct arena_region *region = run->arena.region + how % 3;
	uint8_t *at = region->host + fuzz_u16(in) % region->length;

	if (how < 0x40) { /* any byte of the ring, also those only the driver writes */
		*at = fuzz_u8(in);
	} else if (how < 0xa0) {
		uint16_t id = how & 1 ? fuzz_u16(in) : fuzz_u8(in) % run->conf.size;

		device_uses(run, id, how & 2 ? fuzz_u32(in) : 0, how & 4);
	} else if (!run->packed) {
		store(run->used + 2, how & 1 ? fuzz_u16(in) : load16(run->used + 2) + (how >> 1) % 4u - 1, 2);
	} else { /* the same descriptor on another lap */
		run->device_at ^= how & 1 ? 0x8000 : 0;
		store(region->host, fuzz_u32(in), region->length < 4 ? 2 : 4);
	}
}
