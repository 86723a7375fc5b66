#include "control_ring.h"

#include <errno.h>
#include <stdlib.h>

#include "guard.h"
#include "packed_device.h"
#include "split_device.h"

#define CONTROL_F_INDIRECT_DESC (1ull << 28)
#define CONTROL_F_EVENT_IDX     (1ull << 29)
#define CONTROL_F_PACKED        (1ull << 34)

struct vdp_control {
	struct vdp_ring ring;
	struct vdp_nic_error error;
	struct vdp_queue_conf conf;
	struct vdp_chain chain; /* taken, not answered */
	bool packed;
	struct vdp_piece pieces[2 * VDP_CONTROL_MAX]; /* each has a byte at least */
};

int vdp_control_init(struct vdp_control **ret)
{
	struct vdp_control *control;
	int rc = vdp_guard_install();

	if (rc < 0)
		return rc;
	control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	control->ring.error = &control->error;
	*ret = control;
	return 0;
}

void vdp_control_fini(struct vdp_control *control)
{
	free(control);
}

static bool size_ok(const struct vdp_queue_conf *conf, bool packed)
{
	if (!conf->size || conf->size > VDP_SPLIT_MAX_SIZE)
		return false;
	return packed || !(conf->size & (conf->size - 1));
}

int vdp_control_enable(
    struct vdp_control *control, const struct vdp_queue_conf *conf, struct vdp_dma *dma, uint64_t features)
{
	bool packed = features & CONTROL_F_PACKED;

	if (!size_ok(conf, packed))
		return -EINVAL;
	control->conf = *conf;
	control->packed = packed;
	control->error = (struct vdp_nic_error){0};
	control->ring = (struct vdp_ring){
	    .error = &control->error,
	    .dma = dma,
	    .size = conf->size,
	    .next = conf->last_avail,
	    .seen = conf->last_avail,
	    .published = conf->last_avail,
	    .mixed = true,
	    .flags = VDP_DESC_WRITE, /* of what was used: its length counts */
	    .perm = VDP_DMA_READ,
	    .longest = UINT32_MAX,
	    .event_idx = features & CONTROL_F_EVENT_IDX,
	    .indirect_ok = features & CONTROL_F_INDIRECT_DESC,
	};
	return 0;
}

/* Where the ring is may have changed since the last time. */
static bool attach(struct vdp_control *control)
{
	return control->packed ? vdp_packed_attach(&control->ring, &control->conf, true)
			       : vdp_split_attach(&control->ring, &control->conf, true);
}

static int64_t take(struct vdp_control *control, uint8_t *command)
{
	struct vdp_ring *ring = &control->ring;
	uint32_t done = 0;
	int rc;

	if (!attach(control))
		return -EPROTO;
	rc = control->packed
		 ? vdp_packed_read(ring, ring->next, VDP_CONTROL_MAX, control->pieces, &control->chain)
		 : vdp_split_read(ring, ring->next, VDP_CONTROL_MAX, control->pieces, &control->chain);
	if (rc <= 0)
		return rc ? -EPROTO : -EAGAIN;
	if (!control->chain.turned) { /* nothing of it can be written: all of it is the command */
		control->chain.readable = control->chain.length;
		control->chain.readable_pieces = control->chain.pieces;
	}
	for (uint32_t i = 0; i < control->chain.readable_pieces; i++) {
		memcpy(command + done, control->pieces[i].addr, control->pieces[i].length);
		done += control->pieces[i].length;
	}
	return (int64_t)control->chain.readable;
}

uint64_t vdp_control_room(const struct vdp_control *control)
{
	return control->chain.length - control->chain.readable;
}

static uint32_t write_answer(struct vdp_control *control, const uint8_t *answer, uint32_t length)
{
	uint32_t done = 0;

	for (uint32_t i = control->chain.readable_pieces; i < control->chain.pieces && done < length; i++) {
		const struct vdp_piece *piece = &control->pieces[i];
		uint32_t n = piece->length < length - done ? piece->length : length - done;

		memcpy(piece->addr, answer + done, n);
		done += n;
	}
	return done;
}

static bool give_back(struct vdp_control *control, uint32_t written)
{
	struct vdp_ring *ring = &control->ring;
	uint16_t slots = control->chain.slots, id = control->chain.id;

	if (control->packed) {
		vdp_packed_put(ring, ring->next, id, written);
		ring->next = vdp_packed_after(ring, ring->next, slots);
		vdp_packed_publish(ring);
	} else {
		vdp_split_put(ring, ring->next, id, written);
		ring->next++;
		vdp_split_publish(ring);
	}
	/* What was used before the question whether to tell of it (2.7.7.2, 2.8.21.3.1). */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return control->packed ? vdp_packed_wants_call(ring) : vdp_split_wants_call(ring);
}

/* Ask to be told of the next command. */
static void want_kicks(struct vdp_control *control)
{
	struct vdp_ring *ring = &control->ring;

	ring->seen = ring->next;
	if (control->packed)
		vdp_packed_notify(ring, true);
	else
		vdp_split_notify(ring, true);
}

int64_t vdp_control_take(struct vdp_control *control, uint8_t *command)
{
	volatile int64_t rc = -EPROTO;

	if (control->error.code != VDP_NIC_OK)
		return rc;
	if (sigsetjmp(*vdp_guard_arm(), 0))
		vdp_ring_fail(&control->ring, VDP_NIC_MEMORY_GONE, 0);
	else
		rc = take(control, command);
	vdp_guard_disarm();
	return rc;
}

static int answer_guarded(struct vdp_control *control, const uint8_t *answer, uint32_t length)
{
	bool call = give_back(control, write_answer(control, answer, length));

	want_kicks(control);
	return call;
}

int vdp_control_answer(struct vdp_control *control, const uint8_t *answer, uint32_t length)
{
	volatile int call = 0;

	if (sigsetjmp(*vdp_guard_arm(), 0))
		vdp_ring_fail(&control->ring, VDP_NIC_MEMORY_GONE, 0);
	else
		call = answer_guarded(control, answer, length);
	vdp_guard_disarm();
	return call;
}

void vdp_control_error(const struct vdp_control *control, struct vdp_nic_error *ret)
{
	*ret = control->error;
}
