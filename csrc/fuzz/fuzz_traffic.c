/* The guest half's traffic over rings that a lying device writes: lengths, buffer counts, frames. */
#include <string.h>

#include "arena.h"
#include "traffic_pair.h"

#define SIZE   8u
#define STRIDE 256u

struct run {
	struct arena arena;
	struct vdp_driver *rx, *tx;
	struct vdp_traffic_conf conf;
	struct vdp_traffic_pair rings;
	struct vdp_traffic_stats stats;
	struct vdp_pair pair;
};

static struct vdp_driver *make_driver(struct run *run, uint32_t queue, uint16_t flags)
{
	struct arena_region *parts = run->arena.region + queue * ARENA_PARTS;
	struct vdp_driver_conf conf = {
	    .desc = parts[0].host,
	    .avail = parts[1].host,
	    .used = parts[2].host,
	    .tables = run->arena.region[ARENA_TABLES].host + queue * 1024,
	    .tables_gpa = run->arena.region[ARENA_TABLES].iova + queue * 1024,
	    .table_len = 4,
	    .size = SIZE,
	    .start = flags & VDP_DRIVER_PACKED ? 0x8000 : 0,
	    .flags = flags,
	};
	struct vdp_driver *driver = NULL;

	FUZZ_RULE(vdp_driver_init(&driver, &conf) == 0);
	return driver;
}

static struct vdp_traffic_ring make_ring(
    struct run *run, struct vdp_driver *driver, uint32_t area, uint32_t cut)
{
	static uint32_t bell;

	return (struct vdp_traffic_ring){
	    .driver = driver,
	    .bell = {.kind = VDP_DOORBELL_MMIO32, .addr = &bell},
	    .call = -1,
	    .buffers = run->arena.region[area].host,
	    .gpa = run->arena.region[area].iova,
	    .stride = STRIDE,
	    .segments = cut,
	};
}

static void open_run(struct run *run, struct fuzz_input *in)
{
	static const uint32_t sizes[] = {60, 170, 61};
	uint8_t bits = fuzz_u8(in), more = fuzz_u8(in);
	uint16_t flags = (bits & 7) | (more & 1 ? VDP_DRIVER_IN_ORDER : 0);
	uint32_t big[] = {16 * SIZE, 6 + 2 * SIZE, 6 + 8 * SIZE, 16 * SIZE, 6 + 2 * SIZE, 6 + 8 * SIZE};

	arena_open(&run->arena, big, false, false);
	run->rx = make_driver(run, 0, flags);
	run->tx = make_driver(run, 1, flags);
	run->rings.rx = make_ring(run, run->rx, ARENA_FIRST, bits & 8 ? 3 : 1);
	run->rings.tx = make_ring(run, run->tx, ARENA_SECOND, bits & 16 ? 3 : 1);
	run->conf = (struct vdp_traffic_conf){
	    .mode = (bits >> 5) % 3u,
	    .pairs = 1,
	    .pair = &run->rings,
	    .sizes = sizes,
	    .size_count = 3,
	    .window = 6,
	    .burst = 4,
	    .mergeable = bits & 0x80,
	    .header = more & 2 ? VDP_TRAFFIC_HEADER_HASH : VDP_TRAFFIC_HEADER,
	    .offload = (bits >> 5) % 3u == VDP_TRAFFIC_RECEIVE ? VDP_TRAFFIC_PLAIN : (more >> 2) % 3u,
	    .together = 1,
	};
	if (run->conf.offload == VDP_TRAFFIC_TSO && more & 0x80) {
		run->conf.together = 2;
		run->conf.size_count = 1;
	}
	memset(&run->stats, 0, sizeof(run->stats));
	memset(&run->pair, 0, sizeof(run->pair));
	FUZZ_RULE(vdp_pair_init(&run->pair, &run->conf, 0, &run->stats) == 0);
	vdp_pair_begin(&run->pair, 0);
}

/* A used entry that may even be right, or any byte that the device shares. */
static void device(struct run *run, struct fuzz_input *in, uint8_t op)
{
	struct arena_region *parts = run->arena.region + (op & 1) * ARENA_PARTS;
	bool packed = op & 2;
	const struct arena_region *any = run->arena.region + fuzz_u8(in) % ARENA_AREAS;
	uint32_t id = fuzz_u8(in) % SIZE, length = fuzz_u16(in) % (STRIDE + 8), at = fuzz_u8(in) % SIZE;

	if (op & 4) {
		any->host[fuzz_u16(in) % any->length] = fuzz_u8(in);
		return;
	}
	if (packed) {
		uint64_t word = (uint64_t)(op & 8 ? 0x8082 : 2) << 48 | (uint64_t)id << 32 | length;

		memcpy(parts[0].host + 16 * at + 8, &word, 8);
		return;
	}
	at = parts[2].host[2] % SIZE;
	memcpy(parts[2].host + 4 + 8 * at, &id, 4);
	memcpy(parts[2].host + 8 + 8 * at, &length, 4);
	parts[2].host[2]++;
}

/*
 * A frame of ours in a receive buffer, with a number that may have been sent, in so many buffers. With
 * offloads it lies in an envelope, whose header asks for them.
 */
static void device_frame(struct run *run, struct fuzz_input *in)
{
	static const uint8_t mac[6] = {0};
	uint8_t *buffer = run->arena.region[ARENA_FIRST].host + STRIDE * (fuzz_u8(in) % SIZE);
	uint32_t before = run->pair.header + (run->conf.offload ? VDP_ENVELOPE : 0);
	uint32_t size = VDP_FRAME_MIN + fuzz_u8(in) % (STRIDE - before - VDP_FRAME_MIN);
	struct vdp_frame_shape shape;

	vdp_frame_shape_init(&shape, buffer + before, size);
	vdp_frame_prepare(buffer + before, size, fuzz_u8(in) & 1, mac, mac);
	vdp_frame_number(buffer + before, &shape, fuzz_u8(in));
	if (run->conf.offload) {
		vdp_envelope_prepare(buffer + run->pair.header, 0, mac, mac);
		vdp_envelope_close(
		    buffer, buffer + run->pair.header, size, run->conf.offload == VDP_TRAFFIC_TSO ? size : 0);
	}
	buffer[10] = fuzz_u8(in);
}

/* One frame of very many buffers: more than there is room for, if nobody counts. */
static void device_flood(struct run *run, uint8_t op)
{
	struct arena_region *parts = run->arena.region;
	uint32_t length = STRIDE;

	for (uint32_t i = 0; i < 300; i++) {
		uint32_t at = parts[2].host[2] % SIZE;
		uint16_t head;

		memcpy(&head, parts[1].host + 4 + 2 * at, 2);
		if (i == 0)
			memset(run->arena.region[ARENA_FIRST].host + STRIDE * (head % SIZE), op, 12);
		memcpy(parts[2].host + 4 + 8 * at, &(uint32_t){head}, 4);
		memcpy(parts[2].host + 8 + 8 * at, &length, 4);
		at = parts[2].host[2] | (uint32_t)parts[2].host[3] << 8;
		at++;
		parts[2].host[2] = (uint8_t)at;
		parts[2].host[3] = (uint8_t)(at >> 8);
		vdp_pair_receive(&run->pair);
	}
}

static void step(struct run *run, struct fuzz_input *in)
{
	uint8_t op = fuzz_u8(in);

	switch (op % 8) {
	case 0:
		vdp_pair_receive(&run->pair);
		break;
	case 1:
		vdp_pair_send(&run->pair);
		break;
	case 2:
		vdp_pair_reclaim(&run->pair);
		break;
	case 3:
		vdp_pair_want_calls(&run->pair);
		vdp_pair_no_calls(&run->pair);
		vdp_pair_look_for_stall(&run->pair, op);
		break;
	case 4:
		device_frame(run, in);
		break;
	case 5:
		if (op > 0xf0) {
			device_flood(run, op);
			break;
		}
		/* fall through */
	default:
		device(run, in, op / 8);
	}
	FUZZ_RULE(run->stats.received_bytes <= run->stats.received * (uint64_t)VDP_FRAME_MAX);
	FUZZ_RULE(run->stats.distinct <= run->stats.received);
	FUZZ_RULE(run->conf.mode != VDP_TRAFFIC_ECHO || run->stats.distinct <= run->stats.sent);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct fuzz_input in = {data, data + length};
	static struct run run;

	open_run(&run, &in);
	for (uint32_t i = 0; i < 300 && fuzz_more(&in); i++)
		step(&run, &in);
	vdp_pair_receive(&run.pair);
	vdp_pair_fini(&run.pair);
	vdp_driver_fini(run.rx);
	vdp_driver_fini(run.tx);
	arena_close(&run.arena);
	return 0;
}
