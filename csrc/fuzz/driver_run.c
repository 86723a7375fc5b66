#include "driver_run.h"

#include <errno.h>

#include "driver_state.h"

/* Does the driver's half take sizes that make no ring? Returns false when this one is none. */
static bool run_open(struct run *run, struct fuzz_input *in, bool packed)
{
	uint16_t size = fuzz_u8(in) % (RUN_MAX_SIZE + 1), flags = fuzz_u8(in), start = fuzz_u16(in);
	bool good = size && (packed ? (start & 0x7fff) < size : !(size & (size - 1)));
	uint32_t real = size ? size : 1;
	uint32_t bytes[] = {16 * real, packed ? 4 : 6 + 2 * real, packed ? 4 : 6 + 8 * real, 16, 16, 16};

	memset(&run->owned, 0, sizeof(run->owned));
	arena_open(&run->arena, bytes, packed, false);
	run->desc = run->arena.region[0].host;
	run->avail = run->arena.region[1].host;
	run->used = run->arena.region[2].host;
	run->packed = packed;
	run->serial = run->published = run->popped = run->device_serial = run->batch = run->fault = 0;
	run->next = run->avail_at = run->used_at = run->device_at = start;
	run->conf = (struct vdp_driver_conf){
	    .desc = run->desc,
	    .avail = run->avail,
	    .used = run->used,
	    .tables = run->arena.region[ARENA_TABLES].host,
	    .tables_gpa = run->arena.region[ARENA_TABLES].iova,
	    .table_len = RUN_TABLE,
	    .size = size,
	    .start = start,
	    .flags = (flags & 3) | (flags & 4 ? VDP_DRIVER_IN_ORDER : 0) | (packed ? VDP_DRIVER_PACKED : 0),
	};
	FUZZ_RULE((vdp_driver_init(&run->driver, &run->conf) == 0) == good);
	if (!good)
		arena_close(&run->arena);
	return good;
}

static uint32_t pick_bufs(struct fuzz_input *in, struct vdp_buf *bufs, bool *ordered, uint64_t *writable)
{
	uint8_t shape = fuzz_u8(in);
	uint32_t count = shape % 7u;

	*ordered = count > 0;
	*writable = 0;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t kind = fuzz_u8(in);

		bufs[i] = (struct vdp_buf){.addr = 0x20000 + 64u * kind, .len = kind, .writable = kind & 1};
		if (shape & 0x80)
			bufs[i].writable = i + 2 > count; /* as mostly */
		if (kind > 0xf0)
			bufs[i].len = fuzz_u32(in);
		if (i && bufs[i - 1].writable && !bufs[i].writable)
			*ordered = false;
		*writable += bufs[i].writable ? bufs[i].len : 0;
	}
	return count;
}

/* What add may write: the next descriptors (packed), as many free ones as it takes (split), a table. */
static void mark_add(struct run *run, uint32_t slots, int head)
{
	struct arena *arena = &run->arena;
	uint16_t at = run->next;

	for (uint32_t i = 0; run->packed && i < slots; i++, at = advance(run, at, 1))
		arena_mark_host(arena, run->desc + 16 * (at & 0x7fff), 16, ARENA_RING);
	if (!run->packed) {
		arena_mark_host(arena, run->desc, 16 * run->conf.size, ARENA_RING);
		arena_mark_host(arena, run->avail + 4, 2 * run->conf.size, ARENA_RING);
	}
	if (head >= 0 && run->conf.flags & VDP_DRIVER_INDIRECT)
		arena_mark_host(arena, run->arena.region[ARENA_TABLES].host + 16 * RUN_TABLE * (uint32_t)head,
		    16 * RUN_TABLE, ARENA_RING);
}

static uint32_t descriptors_changed(const struct run *run)
{
	const uint8_t *before = run->arena.before + (run->desc - run->arena.bytes);
	uint32_t n = 0;

	for (uint32_t i = 0; i < run->conf.size; i++)
		n += memcmp(before + 16 * i, run->desc + 16 * i, 16) != 0;
	return n;
}

static void add(struct run *run, struct fuzz_input *in)
{
	struct vdp_buf bufs[7];
	struct vdp_driver_state state;
	uint64_t writable;
	bool ordered;
	uint32_t count = pick_bufs(in, bufs, &ordered, &writable), slots = count;
	int head = vdp_driver_next_head(run->driver), rc;

	if (run->conf.flags & VDP_DRIVER_INDIRECT && count > 1 && count <= RUN_TABLE)
		slots = 1;
	vdp_driver_state(run->driver, &state);
	FUZZ_RULE((head < 0) == (state.free == 0));
	FUZZ_RULE(count == 0 || vdp_driver_room(run->driver, count) == state.free / slots);
	mark_add(run, slots <= state.free ? slots : 0, head);
	rc = vdp_driver_add(run->driver, bufs, count, run->serial + 1000);
	FUZZ_RULE(descriptors_changed(run) <= (rc < 0 ? 0 : slots));
	if (!ordered) {
		FUZZ_RULE(rc == -EINVAL);
		return;
	}
	if (slots > state.free) {
		FUZZ_RULE(rc == -ENOSPC);
		return;
	}
	FUZZ_RULE(rc == head && rc < run->conf.size && !run->owned[rc].length);
	run->owned[rc] = (struct owned){
	    .cookie = run->serial + 1000,
	    .serial = run->serial,
	    .writable = writable > UINT32_MAX ? UINT32_MAX : (uint32_t)writable,
	    .length = (uint16_t)slots,
	};
	run->serial++;
	run->next = advance(run, run->next, run->packed ? slots : 1);
}

static void publish(struct run *run)
{
	if (run->packed && run->serial != run->published)
		arena_mark_host(&run->arena, run->desc + 16 * (run->avail_at & 0x7fff) + 14, 2, ARENA_RING);
	if (!run->packed)
		arena_mark_host(&run->arena, run->avail + 2, 2, ARENA_RING);
	FUZZ_RULE(vdp_driver_publish(run->driver) == run->serial - run->published);
	run->published = run->serial;
	run->avail_at = run->next;
}

/* What the device's entry says, by the specification: 1 an entry, 0 nothing, or it lies: *fault. */
static int read_entry(struct run *run, uint32_t *id, uint32_t *length, uint32_t *fault)
{
	const uint8_t *at = run->used + 4 + 8 * (run->used_at % run->conf.size);
	const struct owned *owned;
	uint16_t flags = VDP_PACKED_WRITE;

	if (run->packed) {
		at = run->desc + 16 * (run->used_at & 0x7fff);
		flags = load16(at + 14);
		if (run->popped == run->published || !vdp_packed_is_used(flags, run->used_at))
			return 0;
		*id = load16(at + 12);
		memcpy(length, at + 8, 4);
	} else {
		memcpy(id, at, 4);
		memcpy(length, at + 4, 4);
	}
	*fault = VDP_DRIVER_BAD_ID;
	if (*id >= run->conf.size)
		return -1;
	owned = run->owned + *id;
	*fault = VDP_DRIVER_NOT_OUTSTANDING;
	if (!owned->length || owned->serial >= run->published)
		return -1;
	*fault = VDP_DRIVER_BAD_LENGTH;
	if (*length > owned->writable && flags & VDP_PACKED_WRITE)
		return -1;
	*length = *length > owned->writable ? 0 : *length;
	*fault = VDP_DRIVER_OK;
	return 1;
}

/* The next chain: of an entry, or of a batch that one opened. waiting: by the used index, of a split ring. */
static int next_used(struct run *run, uint32_t waiting, uint32_t *id, uint32_t *length, uint32_t *fault)
{
	int what;

	if (!in_order(run))
		return read_entry(run, id, length, fault);
	if (!run->batch) {
		what = read_entry(run, id, &run->batch_length, fault);
		if (what <= 0)
			return what;
		run->batch = run->owned[*id].serial - run->popped + 1;
		*fault = VDP_DRIVER_OUT_OF_ORDER;
		if (!run->packed && run->batch > waiting)
			return -1;
		*fault = VDP_DRIVER_OK;
	}
	*id = find_chain(run, run->popped);
	FUZZ_RULE(*id < run->conf.size);
	*length = --run->batch ? run->owned[*id].writable : run->batch_length;
	return 1;
}

/* Take an entry from the model, and compare. False when there is none. */
static bool pop_one(struct run *run, uint32_t waiting, const struct vdp_used *used, bool was_popped)
{
	uint32_t id = 0, length = 0, fault = VDP_DRIVER_OK;
	int what = next_used(run, waiting, &id, &length, &fault);

	if (what < 0)
		run->fault = fault;
	FUZZ_RULE(was_popped == (what > 0));
	if (what <= 0)
		return false;
	FUZZ_RULE(used->head == id && used->len == length && used->cookie == run->owned[id].cookie);
	run->used_at = advance(run, run->used_at, run->packed ? run->owned[id].length : 1);
	run->owned[id].length = 0;
	run->popped++;
	return true;
}

static void pop(struct run *run, uint32_t max)
{
	struct vdp_used used[RUN_MAX_BURST];
	uint32_t waiting = run->conf.size, was = run->fault, n = 0;
	int rc = vdp_driver_pop(run->driver, used, max);

	if (was) {
		FUZZ_RULE(rc == -EPROTO); /* final */
		return;
	}
	if (!run->packed) {
		waiting = (uint16_t)(load16(run->used + 2) - run->used_at);
		if (waiting > run->published - run->popped) {
			run->fault = VDP_DRIVER_USED_JUMP;
			FUZZ_RULE(rc == -EPROTO);
			return;
		}
	}
	FUZZ_RULE(rc >= -EPROTO && rc <= (int)max);
	while (n < max && n < waiting && pop_one(run, waiting - n, used + n, (int)n < rc))
		n++;
	FUZZ_RULE(rc == (n || !run->fault ? (int)n : -EPROTO));
}

static void ask_calls(struct run *run, uint8_t how)
{
	if (run->packed)
		arena_mark_host(&run->arena, run->avail, 4, ARENA_RING);
	else if (run->conf.flags & VDP_DRIVER_EVENT_IDX)
		arena_mark_host(&run->arena, run->avail + 4 + 2 * run->conf.size, 2, ARENA_RING);
	else
		arena_mark_host(&run->arena, run->avail, 2, ARENA_RING);
	if (how & 1)
		vdp_driver_no_calls(run->driver);
	else
		vdp_driver_want_calls(run->driver, how);
}

static void check_state(struct run *run)
{
	struct vdp_driver_state state;
	uint32_t free = run->conf.size;

	for (uint32_t i = 0; i < run->conf.size; i++)
		free -= run->owned[i].length;
	vdp_driver_state(run->driver, &state);
	FUZZ_RULE(state.free == free && state.fault == run->fault);
	FUZZ_RULE(state.added == run->serial - run->published);
	FUZZ_RULE(state.outstanding == run->published - run->popped);
	FUZZ_RULE(state.used_idx == run->used_at);
}

/* The user does one thing, which writes no more than it must. */
static void user(struct run *run, struct fuzz_input *in, uint8_t op)
{
	arena_snapshot(&run->arena);
	switch (op % 8) {
	case 4:
	case 5:
		pop(run, op / 8u);
		break;
	case 6:
		ask_calls(run, op / 8u);
		break;
	case 7:
		publish(run);
		arena_check(&run->arena);
		arena_snapshot(&run->arena);
		vdp_driver_must_kick(run->driver);
		break;
	default:
		add(run, in);
	}
	arena_check(&run->arena);
	check_state(run);
}

int fuzz_driver(struct fuzz_input *in, bool packed)
{
	static struct run run;

	if (!run_open(&run, in, packed))
		return 0;
	for (uint32_t i = 0; i < 300 && fuzz_more(in); i++) {
		uint8_t op = fuzz_u8(in);

		if (op % 3 != 2)
			user(&run, in, op / 3);
		else if (op % 6 == 2)
			device_honest(&run, in);
		else
			device_lies(&run, in, fuzz_u8(in));
	}
	arena_snapshot(&run.arena);
	pop(&run, RUN_MAX_BURST);
	check_state(&run);
	vdp_driver_fini(run.driver);
	arena_close(&run.arena);
	return 0;
}
