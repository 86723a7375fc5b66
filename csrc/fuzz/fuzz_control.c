/* The device's side of a control queue, split or packed; the input is the driver. */
#include <errno.h>
#include <string.h>

#include "control_ring.h"
#include "guest.h"

#define QUEUE 0u

struct run {
	struct vdp_control *control;
	struct arena arena;
	struct guest guest;
	struct model_rules rules;
	uint16_t next; /* where the device is */
};

static void open_run(struct run *run, struct fuzz_input *in)
{
	uint8_t bits = fuzz_u8(in);
	uint64_t features =
	    (bits & 2 ? 0 : 1ull << 28) | (bits & 4 ? 1ull << 29 : 0) | (bits & 1 ? 1ull << 34 : 0);

	guest_open(&run->guest, &run->arena, in, bits & 1);
	run->rules =
	    (struct model_rules){.indirect = features & 1ull << 28, .mixed = true, .longest = UINT32_MAX};
	run->next = run->guest.queue[QUEUE].conf.last_avail;
	if (!run->control)
		FUZZ_RULE(vdp_control_init(&run->control) == 0);
	FUZZ_RULE(
	    vdp_control_enable(run->control, &run->guest.queue[QUEUE].conf, run->arena.dma, features) == 0);
}

/* Readable first, all of it: up to what a command may have. Pieces that lie at several places follow each
 * other. */
static void check_taken(const struct run *run, const struct model_chain *chain, int64_t length)
{
	struct vdp_nic_error error;

	vdp_control_error(run->control, &error);
	FUZZ_RULE((length == -EPROTO) == (error.code != VDP_NIC_OK));
	if (length == -EPROTO)
		FUZZ_RULE(chain->bad || chain->unmapped);
	else
		FUZZ_RULE(!chain->bad && (uint64_t)length == chain->readable);
}

static void answer(struct run *run, const struct model_chain *chain, uint32_t length)
{
	static uint8_t bytes[VDP_CONTROL_MAX];
	const struct model_queue *queue = run->guest.queue + QUEUE;

	memset(bytes, 0xaa, sizeof(bytes));
	vdp_control_answer(run->control, bytes, length);
	arena_check(&run->arena);
	if (!run->arena.wild)
		model_check_used(queue, chain, chain->id, true);
	run->next = model_advance(queue, run->next, chain->slots);
}

static void serve(struct run *run, uint32_t length)
{
	static uint8_t command[VDP_CONTROL_MAX];
	struct model_queue *queue = run->guest.queue + QUEUE;
	struct vdp_nic_error error;
	struct model model;
	int64_t taken;

	vdp_control_error(run->control, &error);
	if (error.code != VDP_NIC_OK) {
		FUZZ_RULE(vdp_control_take(run->control, command) == -EPROTO); /* final */
		return;
	}
	arena_snapshot(&run->arena);
	model_read(&model, &run->arena, queue, &run->rules, run->next, run->next);
	arena_mark_host(&run->arena, queue->device, queue->packed ? 4 : 2, ARENA_RING);
	if (!queue->packed)
		arena_mark_host(&run->arena, queue->device + 4 + 8 * queue->conf.size, 2, ARENA_RING);
	taken = vdp_control_take(run->control, command);
	if (model.jump || model.count == 0)
		FUZZ_RULE(taken == (model.jump ? -EPROTO : -EAGAIN));
	else
		check_taken(run, model.chains, taken);
	if (taken >= 0)
		answer(run, model.chains, length);
	arena_check(&run->arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct fuzz_input in = {data, data + length};
	static struct run run;

	open_run(&run, &in);
	for (uint32_t i = 0; i < 200 && fuzz_more(&in); i++) {
		uint8_t op = fuzz_u8(&in);

		if (op % 4 == 0)
			serve(&run, op & 0x80 ? VDP_CONTROL_MAX : op >> 4);
		else if (op % 4 == 1)
			guest_lie(&run.guest, &in, QUEUE);
		else
			guest_chain(&run.guest, &in, QUEUE, true);
	}
	serve(&run, 1);
	serve(&run, 1);
	arena_close(&run.arena);
	return 0;
}
