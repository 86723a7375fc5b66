#include "device.h"

#include <string.h>

#include "guest.h"
#include "nic_impl.h"

#define DEVICE_F(bit) (1ull << (bit))

#define DEVICE_F_MRG      (1ull << 15)
#define DEVICE_F_INDIRECT (1ull << 28)
#define DEVICE_F_EVENT    (1ull << 29)
#define DEVICE_F_VERSION1 (1ull << 32)
#define DEVICE_F_PACKED   (1ull << 34)
#define DEVICE_F_IN_ORDER (1ull << 35)
#define DEVICE_F_HASH     (1ull << 57)
/* CSUM, TSO4, TSO6, ECN, UFO, USO: what the driver may send, and what it takes. */
#define DEVICE_F_HOST (DEVICE_F(0) | DEVICE_F(11) | DEVICE_F(12) | DEVICE_F(13) | DEVICE_F(14) | DEVICE_F(56))
#define DEVICE_F_GUEST_GSO                                                                                   \
	(DEVICE_F(7) | DEVICE_F(8) | DEVICE_F(9) | DEVICE_F(10) | DEVICE_F(54) | DEVICE_F(55))
#define DEVICE_F_GUEST_CSUM DEVICE_F(1)
#define DEVICE_F_TUNNELS    0x1eull /* from bit 64 on: those that go with all of that */
#define DEVICE_BITS_TUNNELS 0xf0u

struct device {
	struct vdp_nic *nic; /* its worker stays paused: we poll */
	struct arena arena;
	struct guest guest;
	struct model_rules rules[ARENA_QUEUES];
	uint64_t log_base, log_end;
	bool batch; /* IN_ORDER: one used entry for all that was sent */
};

static struct vdp_nic *device_nic(uint32_t kind)
{
	static const struct vdp_nic_conf confs[] = {
	    {.pairs = 1, .port = VDP_PORT_ECHO, .cpu = -1},
	    {.pairs = 1, .port = VDP_PORT_DISCARD, .cpu = -1},
	    {.pairs = 1, .port = VDP_PORT_GENERATE, .cpu = -1, .generate_size = 60},
	    {.pairs = 1, .port = VDP_PORT_GENERATE, .cpu = -1, .generate_size = 5000},
	};
	static struct vdp_nic *nics[4]; /* made once: threads cost more than a run */

	kind = kind < 6 ? 0 : kind % 4;
	if (!nics[kind])
		FUZZ_RULE(vdp_nic_init(&nics[kind], confs + kind) == 0);
	return nics[kind];
}

/* What a worker does in one round. Returns the frames moved. */
static uint32_t device_poll(struct vdp_nic *nic)
{
	return nic->port->poll(nic, nic->pairs);
}

static void device_inject(struct vdp_nic *nic, uint8_t *frame, uint32_t length)
{
	if (!nic->port->inject)
		return;
	nic->scratch->src[1] = (struct vdp_piece){.addr = frame, .length = length};
	nic->scratch->frame = (struct vdp_net_hdr){0};
	nic->port->inject(nic, nic->pairs, length);
}

static uint16_t device_seen(struct vdp_nic *nic, uint32_t queue)
{
	return nic->queues[queue].ring.seen;
}

static bool device_live(struct vdp_nic *nic, uint32_t queue)
{
	return nic->queues[queue].live;
}

/* Looks at each frame, and leaves it where it is. */
static const struct vdp_flow_rules stays = {.count = 2,
    .rule = {{.network = 6, .transport = 17, .action = VDP_FLOW_DIRECT}, {.action = VDP_FLOW_DIRECT}}};

static void device_set_features(struct device *device, struct fuzz_input *in, bool packed)
{
	uint8_t bits = fuzz_u8(in);
	uint64_t features = DEVICE_F_VERSION1 | (packed ? DEVICE_F_PACKED : 0);
	bool tunnels = (bits & DEVICE_BITS_TUNNELS) == DEVICE_BITS_TUNNELS;
	uint32_t header = bits & 128 ? VDP_NET_HDR_HASH : VDP_NET_HDR;

	features |= bits & 1 ? 0 : DEVICE_F_MRG;
	features |= bits & 2 ? 0 : DEVICE_F_INDIRECT;
	features |= bits & 4 ? DEVICE_F_EVENT : 0;
	features |= bits & 8 ? DEVICE_F_IN_ORDER : 0;
	features |= bits & 16 ? DEVICE_F_HOST : 0;
	features |= bits & 32 ? DEVICE_F_GUEST_CSUM : 0;
	features |= bits & 64 ? DEVICE_F_GUEST_GSO : 0;
	features |= bits & 128 ? DEVICE_F_HASH : 0;
	device->batch = features & DEVICE_F_IN_ORDER;
	header = tunnels ? VDP_NET_HDR_TUNNEL : header;
	vdp_nic_set_features(device->nic, features, tunnels ? DEVICE_F_TUNNELS : 0);
	if (features & DEVICE_F_HASH) { /* every frame is looked at, and its hash reported */
		vdp_nic_set_rss(device->nic, &(struct vdp_rss){.types = ~0u, .key = {0x6d, 0x5a}});
		vdp_nic_set_flow_rules(device->nic, &stays);
	}
	for (uint32_t i = 0; i < ARENA_QUEUES; i++)
		device->rules[i] = (struct model_rules){
		    .indirect = features & DEVICE_F_INDIRECT,
		    .shortest = header,
		    .longest = i ? header + VDP_FRAME_MAX : UINT32_MAX,
		};
}

static void device_open(struct device *device, struct fuzz_input *in, bool packed)
{
	memset(&device->guest, 0, sizeof(device->guest));
	device->nic = device_nic(fuzz_u8(in) % 10);
	vdp_nic_reset(device->nic);
	device_set_features(device, in, packed);
	guest_open(&device->guest, &device->arena, in, packed);
	vdp_nic_set_dma(device->nic, device->arena.dma);
	for (uint32_t i = 0; i < ARENA_QUEUES; i++)
		FUZZ_RULE(vdp_nic_queue_enable(device->nic, i, &device->guest.queue[i].conf) == 0);
	device->log_base = device->log_end = 0;
	vdp_nic_set_log(device->nic, 0, 0);
	vdp_nic_run(device->nic, true);
}

static void device_close(struct device *device)
{
	vdp_nic_reset(device->nic);
	vdp_nic_set_dma(device->nic, NULL);
	arena_close(&device->arena);
}

/* Chains were used in their order, each once, and their entries say so. */
static void check_used(struct device *device, const struct model *model, uint32_t index, uint16_t before)
{
	const struct model_queue *queue = device->guest.queue + index;
	uint16_t after = vdp_nic_queue_avail(device->nic, index), at = before;
	bool published = device->nic->error.code == VDP_NIC_OK;
	bool batch = device->batch && index == 1;
	uint32_t n = 0;

	for (; at != after; n++) {
		FUZZ_RULE(n < model->count && model->chains[n].position == at && !model->chains[n].bad);
		at = model_advance(queue, at, model->chains[n].slots);
	}
	if (!queue->packed) {
		uint16_t idx;

		memcpy(&idx, queue->device + 2, 2);
		FUZZ_RULE(!published || n == 0 || idx == after);
	}
	if (n > 0 && batch && published)
		model_check_used(queue, model->chains, model->chains[n - 1].id, false);
	for (uint32_t i = 0; i < n && !batch && published; i++)
		model_check_used(queue, model->chains + i, model->chains[i].id, index == 0);
}

/* Nothing was wrong with what the device might have looked at. */
static bool is_honest(const struct model *model)
{
	for (uint32_t i = 0; i < model->count; i++) {
		if (model->chains[i].bad || model->chains[i].unmapped)
			return false;
	}
	/* An index that went back: who has served what it knew finds it behind that. */
	return !model->jump && !model->taken_back;
}

/* Who lies is found out, who does not is not accused. */
static void check_verdict(struct device *device, const struct model *models, uint16_t seen)
{
	const struct model_chain *front = models[1].chains;
	bool accused = device->nic->error.code != VDP_NIC_OK, dead = false, log_ok = true;
	bool waits = seen != front->position; /* of a split queue, as the device knows it */

	for (uint32_t i = 0; i < ARENA_QUEUES; i++)
		dead |= device->guest.queue[i].enabled && !device_live(device->nic, i);
	if (device->log_end > device->log_base)
		log_ok = arena_mark(&device->arena, device->log_base, device->log_end - device->log_base,
			     VDP_DMA_WRITE, 0) == device->log_end - device->log_base;
	if (device->arena.wild)
		return;
	if (!dead && log_ok && is_honest(models) && is_honest(models + 1))
		FUZZ_RULE(!accused);
	if (!device->guest.queue[1].enabled || models[1].taken_back)
		return;
	if (models[1].count > 0 && (front->bad || front->unmapped))
		FUZZ_RULE(accused);
	if (models[1].jump && !waits)
		FUZZ_RULE(accused);
}

/* Let the device work once: on what waits, or on a frame from the wire. */
static void serve(struct device *device, uint8_t *frame, uint32_t length)
{
	uint16_t before[ARENA_QUEUES], seen;
	struct model models[ARENA_QUEUES];
	struct vdp_nic_error error;

	if (device->nic->error.code != VDP_NIC_OK)
		return; /* as the worker */
	arena_snapshot(&device->arena);
	seen = device_seen(device->nic, 1);
	for (uint32_t i = 0; i < ARENA_QUEUES; i++) {
		before[i] = vdp_nic_queue_avail(device->nic, i);
		model_read(models + i, &device->arena, device->guest.queue + i, device->rules + i, before[i],
		    device_seen(device->nic, i));
	}
	for (uint64_t at = device->log_base; at < device->log_end; at++)
		arena_mark(&device->arena, at, 1, VDP_DMA_WRITE, ARENA_LOG);
	if (frame)
		device_inject(device->nic, frame, length);
	else
		device_poll(device->nic);
	arena_check(&device->arena);
	if (!device->arena.wild) {
		if (device->nic->error.code == VDP_NIC_OK && device->log_end > device->log_base)
			arena_check_log(&device->arena, device->log_base, device->log_end);
		for (uint32_t i = 0; i < ARENA_QUEUES; i++)
			check_used(device, models + i, i, before[i]);
	}
	if (!frame)
		check_verdict(device, models, (uint16_t)(seen - before[1] + models[1].chains->position));
	error = device->nic->error;
	FUZZ_RULE(error.code == VDP_NIC_OK || error.queue < ARENA_QUEUES);
}

/* Ask for notifications or not, and look again, as a worker that goes to sleep. */
static void rest(struct device *device, uint32_t index, bool on)
{
	struct model_queue *queue = device->guest.queue + index;
	struct vdp_nic *nic = device->nic;
	uint32_t device_bytes = queue->packed ? 4 : 6 + 8u * queue->conf.size;

	if (!device_live(nic, index) || nic->error.code != VDP_NIC_OK)
		return;
	arena_snapshot(&device->arena);
	arena_mark_host(&device->arena, queue->device, queue->packed ? 4 : 2, ARENA_RING);
	if (!queue->packed) /* avail_event */
		arena_mark_host(&device->arena, queue->device + device_bytes - 2, 2, ARENA_RING);
	nic->net->notify(&nic->queues[index].ring, on);
	nic->net->moved(&nic->queues[index].ring);
	arena_check(&device->arena);
}

static void queue_reset(struct device *device, struct fuzz_input *in, uint32_t index)
{
	uint8_t how = fuzz_u8(in);

	vdp_nic_queue_disable(device->nic, index);
	device->guest.queue[index].enabled = false;
	if (how & 1)
		return;
	guest_restart(&device->guest, in, index);
	device->guest.queue[index].conf.desc += how == 2 ? 8 : 0; /* not aligned */
	FUZZ_RULE(vdp_nic_queue_enable(device->nic, index, &device->guest.queue[index].conf) == 0);
}

static void set_log(struct device *device, struct fuzz_input *in)
{
	device->log_base = arena_address(&device->arena, in, true);
	device->log_end = device->log_base + fuzz_u8(in) % 64;
	if (device->log_end < device->log_base)
		device->log_end = device->log_base;
	vdp_nic_set_log(device->nic, device->log_base, device->log_end);
}

static void step(struct device *device, struct fuzz_input *in)
{
	static uint8_t frame[9000];
	uint8_t op = fuzz_u8(in);
	uint32_t queue = op >> 4 & 1;

	switch (op & 15) {
	case 10:
		serve(device, frame, 14 + fuzz_u16(in) % (sizeof(frame) - 14));
		break;
	case 11:
		rest(device, queue, op & 32);
		break;
	case 12:
		arena_remap(&device->arena, fuzz_u8(in) % ARENA_AREAS, (op >> 5) % 4u);
		vdp_nic_refresh(device->nic);
		break;
	case 13:
		queue_reset(device, in, queue);
		break;
	case 14:
		set_log(device, in);
		break;
	case 9:
		guest_frame(&device->guest, in);
		break;
	case 15:
	case 8:
		guest_lie(&device->guest, in, queue);
		break;
	case 7:
	case 6:
		serve(device, NULL, 0);
		break;
	default:
		guest_chain(&device->guest, in, queue, false);
	}
}

int fuzz_device(struct fuzz_input *in, bool packed)
{
	static struct device device;

	device_open(&device, in, packed);
	for (uint32_t i = 0; i < 200 && fuzz_more(in); i++)
		step(&device, in);
	serve(&device, NULL, 0);
	serve(&device, NULL, 0);
	device_close(&device);
	return 0;
}
