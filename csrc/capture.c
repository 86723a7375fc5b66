#include "capture_frames.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

#include "pcapng.h"

#define RING_BYTES (1u << 20)
#define RING_MASK  (RING_BYTES - 1)

/* Bytes, not records: a block may wrap. */
struct capture_ring {
	uint64_t head __attribute__((aligned(VDP_CACHE_LINE))); /* the worker's */
	uint64_t lost;
	uint64_t tail __attribute__((aligned(VDP_CACHE_LINE))); /* the writer's */
	uint8_t *data;
};

struct vdp_capture {
	int fd, event_fd, wake_fd;
	uint32_t pairs;
	bool lossless;
	pthread_t thread;
	uint64_t written;             /* bytes; whole blocks */
	uint32_t asleep, stop, error; /* atomic; error: errno */
	struct capture_ring rings[] __attribute__((aligned(VDP_CACHE_LINE)));
};

/* The writer */

static int capture_write(struct vdp_capture *capture, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length > 0) {
		ssize_t n = write(capture->fd, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

/* The rest of a file that is cut within a block would be lost to its readers. */
static void capture_fail(struct vdp_capture *capture, int rc)
{
	uint64_t one = 1;
	int cut = ftruncate(capture->fd, (off_t)capture->written);

	(void)cut; /* not of a pipe */
	__atomic_store_n(&capture->error, (uint32_t)-rc, __ATOMIC_RELEASE);
	if (capture->event_fd >= 0 && write(capture->event_fd, &one, sizeof(one)) < 0)
		return; /* a full counter wakes as well */
}

/* What the ring holds, to the file; returns whether there was something. */
static bool capture_drain(struct vdp_capture *capture, struct capture_ring *ring)
{
	uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE), length = head - ring->tail;
	uint32_t at = ring->tail & RING_MASK;
	uint64_t first = length < RING_BYTES - at ? length : RING_BYTES - at;
	int rc = 0;

	if (length == 0)
		return false;
	if (!capture->error) {
		rc = capture_write(capture, ring->data + at, first);
		if (rc == 0)
			rc = capture_write(capture, ring->data, length - first);
		if (rc < 0)
			capture_fail(capture, rc);
		else
			capture->written += length;
	}
	__atomic_store_n(&ring->tail, head, __ATOMIC_RELEASE);
	return true;
}

static bool capture_drain_all(struct vdp_capture *capture)
{
	bool some = false;

	for (uint32_t i = 0; i < capture->pairs; i++)
		some |= capture_drain(capture, capture->rings + i);
	return some;
}

static void capture_sleep(struct vdp_capture *capture)
{
	struct pollfd set = {.fd = capture->wake_fd, .events = POLLIN};
	uint64_t count;

	__atomic_store_n(&capture->asleep, 1, __ATOMIC_RELAXED);
	/* Who fills a ring looks at asleep behind a fence, too: one of us sees the other. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!capture_drain_all(capture) && poll(&set, 1, -1) > 0 &&
	    read(capture->wake_fd, &count, sizeof(count)) < 0)
		return; /* nobody else reads it */
	__atomic_store_n(&capture->asleep, 0, __ATOMIC_RELAXED);
}

static void *capture_main(void *arg)
{
	struct vdp_capture *capture = arg;

	while (!__atomic_load_n(&capture->stop, __ATOMIC_ACQUIRE)) {
		if (!capture_drain_all(capture))
			capture_sleep(capture);
	}
	capture_drain_all(capture);
	return NULL;
}

static void capture_wake(struct vdp_capture *capture)
{
	uint64_t one = 1;
	ssize_t n = write(capture->wake_fd, &one, sizeof(one));

	(void)n; /* cannot fail but by a full counter, which wakes as well */
}

static int capture_block(struct vdp_capture *capture, const struct vdp_pcapng *block)
{
	int rc = capture_write(capture, block->data, block->length);

	if (rc == 0)
		capture->written += block->length;
	return rc;
}

static int capture_begin(struct vdp_capture *capture)
{
	struct vdp_pcapng block;
	int rc;

	vdp_pcapng_section(&block);
	rc = capture_block(capture, &block);
	for (uint32_t i = 0; i < capture->pairs && rc == 0; i++) {
		vdp_pcapng_interface(&block, i);
		rc = capture_block(capture, &block);
	}
	return rc;
}

static uint64_t capture_now(void)
{
	return vdp_now_ns(CLOCK_REALTIME);
}

/* How many frames are missing. */
static void capture_end(struct vdp_capture *capture)
{
	for (uint32_t i = 0; i < capture->pairs && !capture->error; i++) {
		struct vdp_pcapng block;
		int rc;

		vdp_pcapng_statistics(&block, i, capture_now(), capture->rings[i].lost);
		rc = capture_block(capture, &block);
		if (rc < 0)
			capture_fail(capture, rc);
	}
}

/* Life */

static void capture_free(struct vdp_capture *capture)
{
	for (uint32_t i = 0; i < capture->pairs; i++)
		free(capture->rings[i].data);
	if (capture->wake_fd >= 0)
		close(capture->wake_fd);
	free(capture);
}

static int capture_start(struct vdp_capture *capture)
{
	sigset_t all, before;
	int rc;

	capture->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (capture->wake_fd < 0)
		return -errno;
	rc = capture_begin(capture);
	if (rc < 0)
		return rc;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&capture->thread, NULL, capture_main, capture);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc;
}

int vdp_capture_init(struct vdp_capture **ret, int fd, int event_fd, uint32_t pairs, bool lossless)
{
	size_t size = sizeof(struct vdp_capture) + pairs * sizeof(struct capture_ring);
	struct vdp_capture *capture = aligned_alloc(VDP_CACHE_LINE, size);
	int rc = 0;

	if (!capture)
		return -ENOMEM;
	memset(capture, 0, size);
	capture->fd = fd;
	capture->event_fd = event_fd;
	capture->wake_fd = -1;
	capture->pairs = pairs;
	capture->lossless = lossless;
	for (uint32_t i = 0; i < pairs && rc == 0; i++) {
		capture->rings[i].data = malloc(RING_BYTES);
		rc = capture->rings[i].data ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = capture_start(capture);
	if (rc < 0) {
		capture_free(capture);
		return rc;
	}
	*ret = capture;
	return 0;
}

void vdp_capture_fini(struct vdp_capture *capture)
{
	if (!capture)
		return;
	__atomic_store_n(&capture->stop, 1, __ATOMIC_RELEASE);
	capture_wake(capture);
	pthread_join(capture->thread, NULL);
	capture_end(capture);
	capture_free(capture);
}

int vdp_capture_error(const struct vdp_capture *capture)
{
	return (int)__atomic_load_n(&capture->error, __ATOMIC_ACQUIRE);
}

uint64_t vdp_capture_lost(const struct vdp_capture *capture, uint32_t pair)
{
	return __atomic_load_n(&capture->rings[pair].lost, __ATOMIC_RELAXED);
}

/* The workers */

/* Room at the ring's position at, as pieces. */
static void ring_room(const struct capture_ring *ring, uint64_t at, struct vdp_piece room[2])
{
	uint32_t offset = at & RING_MASK;

	room[0] = (struct vdp_piece){.addr = ring->data + offset, .length = RING_BYTES - offset};
	room[1] = (struct vdp_piece){.addr = ring->data, .length = RING_BYTES};
}

static void ring_put(struct capture_ring *ring, uint64_t at, const void *data, uint32_t length)
{
	struct vdp_piece room[2], from = {.addr = (uint8_t *)data, .length = length};

	ring_room(ring, at, room);
	vdp_copy_pieces(room, &from, length);
}

/* A block at *at, if it fits before end. */
static bool ring_add(struct vdp_capture *capture, uint32_t pair, enum vdp_capture_way way, uint64_t now,
    const struct vdp_piece *pieces, uint32_t length, uint64_t *at)
{
	struct capture_ring *ring = capture->rings + pair;
	uint32_t padded = (length + 3) & ~3u;
	uint32_t total = sizeof(struct vdp_pcapng_head) + padded + sizeof(struct vdp_pcapng_tail);
	uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE);
	struct vdp_piece room[2];
	struct vdp_pcapng_head head = {
	    VDP_PCAPNG_PACKET, total, pair, (uint32_t)(now >> 32), (uint32_t)now, length, length};
	struct vdp_pcapng_tail end = {
	    VDP_PCAPNG_FLAGS, 4, way, VDP_PCAPNG_QUEUE, 4, 2 * pair + (way == VDP_CAPTURE_SENT), 0, total};

	if (*at + total - tail > RING_BYTES)
		return false;
	ring_put(ring, *at, &head, sizeof(head));
	ring_room(ring, *at + sizeof(head), room);
	vdp_copy_pieces(room, pieces, length);
	ring_put(ring, *at + sizeof(head) + length, "\0\0\0", padded - length);
	ring_put(ring, *at + sizeof(head) + padded, &end, sizeof(end));
	*at += total;
	return true;
}

/* n frames are behind at; missing ones did not fit. */
static void ring_publish(struct vdp_capture *capture, uint32_t pair, uint64_t at, uint32_t missing)
{
	struct capture_ring *ring = capture->rings + pair;

	if (!capture->lossless)
		vdp_count(&ring->lost, missing);
	__atomic_store_n(&ring->head, at, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (__atomic_load_n(&capture->asleep, __ATOMIC_RELAXED))
		capture_wake(capture);
}

/* Once it ended early there is nothing to wait for. */
static bool capture_ended(struct vdp_capture *capture, uint32_t pair, uint32_t n)
{
	if (VDP_LIKELY(!vdp_capture_error(capture)))
		return false;
	vdp_count(&capture->rings[pair].lost, n);
	return true;
}

uint32_t vdp_capture_frames(struct vdp_capture *capture, uint32_t pair, enum vdp_capture_way way,
    const struct vdp_frame *frames, uint32_t n)
{
	uint64_t at = capture->rings[pair].head, now = capture_now();
	uint32_t i;

	if (capture_ended(capture, pair, n))
		return n;
	for (i = 0; i < n; i++) {
		struct vdp_piece piece = {.addr = (uint8_t *)frames[i].data, .length = frames[i].length};

		if (!ring_add(capture, pair, way, now, &piece, frames[i].length, &at))
			break;
	}
	ring_publish(capture, pair, at, n - i);
	return i;
}

bool vdp_capture_pieces(struct vdp_capture *capture, uint32_t pair, enum vdp_capture_way way,
    const struct vdp_piece *pieces, uint32_t length)
{
	uint64_t at = capture->rings[pair].head;
	bool fits;

	if (capture_ended(capture, pair, 1))
		return true;
	fits = ring_add(capture, pair, way, capture_now(), pieces, length, &at);
	ring_publish(capture, pair, at, !fits);
	return fits;
}
