/* The traffic thread against an echo device in another thread, one that misbehaves on demand. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "check.h"
#include "echo_device.h"
#include "traffic.h"

#define SIZE   64u
#define FRAMES 20000u
#define WINDOW 8u

enum mischief { NONE, DROP, TWICE, SWAP, FLIP, STRANGER, BAD_USED, DELAY };

struct side {
	struct ring ring;
	struct vdp_driver_conf conf;
	struct vdp_traffic_ring traffic;
};

static struct side rx, tx;
static enum mischief mischief;
static uint32_t rx_length;
static bool stop_device;

static void side_init(struct side *side, uint16_t flags, uint32_t stride, uint32_t segments)
{
	ring_init(&side->ring, &side->conf, SIZE, flags);
	CHECK_EQ(vdp_driver_init(&side->traffic.driver, &side->conf), 0);
	side->traffic.bell.kind = VDP_DOORBELL_EVENTFD;
	side->traffic.bell.fd = eventfd(0, EFD_NONBLOCK);
	side->traffic.call = eventfd(0, EFD_NONBLOCK);
	side->traffic.buffers = ring_memory((uint64_t)SIZE * stride);
	side->traffic.gpa = (uintptr_t)side->traffic.buffers;
	side->traffic.stride = stride;
	side->traffic.segments = segments;
}

static void side_fini(struct side *side)
{
	vdp_driver_fini(side->traffic.driver);
	ring_fini(&side->ring, &side->conf);
	free(side->traffic.buffers);
	close(side->traffic.bell.fd);
	close(side->traffic.call);
}

static void call(struct side *side, uint16_t count)
{
	uint64_t one = 1;

	if (ring_push(&side->ring, count))
		CHECK(write(side->traffic.call, &one, 8) == 8);
}

static uint32_t gather(uint16_t head, uint8_t *frame)
{
	struct vdp_buf bufs[32];
	uint32_t count = ring_walk(&tx.ring, head, bufs, 32), length = 0;

	for (uint32_t i = 0; i < count; i++) {
		CHECK(!bufs[i].writable);
		memcpy(frame + length, (void *)(uintptr_t)bufs[i].addr, bufs[i].len);
		length += bufs[i].len;
	}
	return length;
}

static uint32_t scatter(uint16_t head, const uint8_t *data, uint32_t length)
{
	struct vdp_buf bufs[32];
	uint32_t count = ring_walk(&rx.ring, head, bufs, 32), at = 0;

	for (uint32_t i = 0; i < count && at < length; i++) {
		uint32_t piece = bufs[i].len < length - at ? bufs[i].len : length - at;

		CHECK(bufs[i].writable);
		memcpy((void *)(uintptr_t)bufs[i].addr, data + at, piece);
		at += piece;
	}
	return at;
}

/* Deliver a frame with its header over as many buffers as it takes. */
static void deliver(uint8_t *data, uint32_t length)
{
	uint16_t count = (uint16_t)((length + rx_length - 1) / rx_length);
	uint16_t head;

	data[10] = (uint8_t)count;
	data[11] = 0;
	for (uint16_t i = 0; i < count; i++) {
		while (!ring_peek(&rx.ring, &head))
			if (__atomic_load_n(&stop_device, __ATOMIC_RELAXED))
				return;
		rx.ring.taken++;
		ring_put(&rx.ring, i, head, scatter(head, data, length));
		data += rx_length;
		length -= length < rx_length ? length : rx_length;
	}
	call(&rx, count);
}

static void misbehave(uint8_t *data, uint32_t length, uint8_t *kept, uint32_t *kept_length)
{
	switch (mischief) {
	case TWICE:
		deliver(data, length);
		break;
	case FLIP:
		data[60] ^= 4;
		break;
	case STRANGER:
		data[24] = 0;
		break;
	case SWAP:
		memcpy(kept, data, length);
		*kept_length = length;
		return;
	case DROP:
		return;
	case DELAY:
		usleep(150000);
		break;
	default:
		break;
	}
	deliver(data, length);
}

static void device_round(uint64_t *frames)
{
	static uint8_t data[70000], kept[70000];
	static uint32_t kept_length;
	uint32_t length;
	uint16_t head;

	if (!ring_peek(&tx.ring, &head))
		return;
	/* The window holds as long as nothing is written off. */
	CHECK(mischief != NONE || (uint16_t)(tx.ring.avail->idx - tx.ring.taken) <= WINDOW);
	length = gather(head, data);
	tx.ring.taken++;
	ring_put(&tx.ring, 0, mischief == BAD_USED && *frames == 100 ? 1000 : head, 0);
	call(&tx, 1);
	if (++*frames == 100) {
		misbehave(data, length, kept, &kept_length);
		return;
	}
	deliver(data, length);
	if (kept_length) {
		deliver(kept, kept_length);
		kept_length = 0;
	}
}

static void *device(void *arg)
{
	uint64_t frames = 0;

	(void)arg;
	usleep(20000); /* a late device is not a stalled one */
	while (!__atomic_load_n(&stop_device, __ATOMIC_RELAXED))
		device_round(&frames);
	return NULL;
}

static struct vdp_traffic_stats run(struct vdp_traffic_conf conf)
{
	struct vdp_traffic_pair pair = {.rx = rx.traffic, .tx = tx.traffic};
	struct vdp_traffic_stats stats;
	struct vdp_traffic *traffic;
	struct pollfd done;
	pthread_t thread;

	conf.pairs = 1;
	conf.pair = &pair;
	conf.burst = 16;
	conf.drain_ms = 500;
	conf.cpu = -1;
	stop_device = false;
	CHECK_EQ(pthread_create(&thread, NULL, device, NULL), 0);
	CHECK_EQ(vdp_traffic_init(&traffic, &conf), 0);
	done = (struct pollfd){.fd = vdp_traffic_done_fd(traffic), .events = POLLIN};
	CHECK_EQ(poll(&done, 1, 20000), 1);
	vdp_traffic_stop(traffic);
	stats = *vdp_traffic_stats(traffic, 0);
	vdp_traffic_fini(traffic);
	__atomic_store_n(&stop_device, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	side_fini(&rx);
	side_fini(&tx);
	return stats;
}

static const uint32_t sizes[] = {60, 64, 1514, 333, 9000};

static struct vdp_traffic_stats run_mischief(enum mischief kind)
{
	struct vdp_traffic_conf conf = {
	    .sizes = sizes, .size_count = 2, .count = 1000, .window = WINDOW, .stall_ms = 50};

	mischief = kind;
	rx_length = 2048;
	side_init(&rx, 0, 2048, 1);
	side_init(&tx, 0, 2048, 1);
	return run(conf);
}

static void test_clean(uint16_t flags, uint32_t segments, uint32_t poll_us)
{
	struct vdp_traffic_conf conf = {.sizes = sizes,
	    .size_count = 5,
	    .count = FRAMES,
	    .window = WINDOW,
	    .poll_us = poll_us,
	    .stall_ms = 10000};
	struct vdp_traffic_stats stats;

	mischief = NONE;
	conf.mergeable = segments == 1;
	rx_length = segments == 1 ? 1600 : 9216;
	side_init(&rx, flags, rx_length, segments);
	side_init(&tx, flags, 9216, segments);
	stats = run(conf);
	CHECK_EQ(stats.sent, FRAMES);
	CHECK_EQ(stats.transmitted, FRAMES);
	CHECK_EQ(stats.received, FRAMES);
	CHECK_EQ(stats.sent_bytes, stats.received_bytes);
	CHECK_EQ(stats.distinct, FRAMES);
	CHECK_EQ(stats.duplicated + stats.reordered + stats.corrupt + stats.foreign + stats.missing, 0);
	CHECK_EQ(stats.fault + stats.written_off, 0);
	CHECK(stats.kicks > 0);
}

static void test_mischief(void)
{
	struct vdp_traffic_stats stats = run_mischief(DROP);

	CHECK_EQ(stats.missing, 1);
	CHECK_EQ(stats.sent - stats.distinct, 1);
	CHECK_EQ(stats.written_off, 1);
	stats = run_mischief(TWICE);
	CHECK_EQ(stats.duplicated, 1);
	CHECK_EQ(stats.distinct, 1000);
	stats = run_mischief(SWAP);
	CHECK_EQ(stats.reordered, 1);
	CHECK_EQ(stats.missing, 0);
	CHECK_EQ(stats.distinct, 1000);
	stats = run_mischief(FLIP);
	CHECK_EQ(stats.corrupt, 1);
	CHECK_EQ(stats.distinct, 999);
	stats = run_mischief(STRANGER);
	CHECK_EQ(stats.foreign, 1);
	stats = run_mischief(DELAY); /* written off, and then they come */
	CHECK_EQ(stats.distinct, 1000);
	CHECK_EQ(stats.written_off, 0);
	stats = run_mischief(BAD_USED);
	CHECK_EQ(stats.fault, VDP_DRIVER_BAD_ID);
	CHECK_EQ(stats.fault_detail, 1000);
}

static void test_refused(void)
{
	static const uint32_t small[] = {59};
	struct vdp_traffic_pair pair = {0};
	struct vdp_traffic_conf conf = {
	    .pairs = 1, .pair = &pair, .sizes = sizes, .size_count = 1, .window = 1, .burst = 1};
	struct vdp_traffic *traffic;

	CHECK_EQ(vdp_traffic_init(&traffic, &conf), -EINVAL); /* no rings */
	conf.mode = VDP_TRAFFIC_TRANSMIT;
	CHECK_EQ(vdp_traffic_init(&traffic, &conf), -EINVAL);
	conf.sizes = small;
	CHECK_EQ(vdp_traffic_init(&traffic, &conf), -EINVAL);
}

int main(void)
{
	test_refused();
	test_clean(0, 1, UINT32_MAX);
	test_clean(VDP_DRIVER_EVENT_IDX, 1, 0);
	test_clean(0, 3, 0);
	test_clean(VDP_DRIVER_EVENT_IDX | VDP_DRIVER_INDIRECT, 4, 20);
	test_mischief();
	return 0;
}
