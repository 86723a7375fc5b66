/* What the guest half makes of frames: the checks of their bytes, and the ledger of their numbers. */
#include <string.h>

#include "frame.h"
#include "input.h"
#include "ledger.h"

/* Any bytes, in a buffer that ends where they do. */
static void check_bytes(const uint8_t *data, size_t length)
{
	uint8_t *frame = malloc(length ? length : 1);
	uint32_t flow;
	uint64_t sequence;

	FUZZ_RULE(frame);
	memcpy(frame, data, length);
	if (length > 14 && data[length - 1] & 1) { /* one of ours, as it seems */
		frame[12] = VDP_FRAME_ETHERTYPE >> 8;
		frame[13] = (uint8_t)(VDP_FRAME_ETHERTYPE - (data[length - 1] >> 1 & 1));
	}
	vdp_frame_check(frame, (uint32_t)length, &flow, &sequence);
	vdp_frame_check_generated(frame, (uint32_t)length, &sequence);
	free(frame);
}

/* A frame of ours is good, and with one bit turned it is not. */
static void check_ours(struct fuzz_input *in)
{
	static const uint8_t mac[6] = {2};
	uint32_t size = VDP_FRAME_MIN + fuzz_u16(in) % 2000, flow = 0, at;
	uint64_t want = fuzz_u32(in), sequence = 0;
	struct vdp_frame_shape shape;
	uint8_t *frame = malloc(size);

	FUZZ_RULE(frame);
	vdp_frame_prepare(frame, size, 7, mac, mac);
	vdp_frame_shape_init(&shape, frame, size);
	vdp_frame_prepare(frame, size, 7, mac, mac);
	vdp_frame_number(frame, &shape, want);
	FUZZ_RULE(vdp_frame_check(frame, size, &flow, &sequence) == VDP_FRAME_GOOD);
	FUZZ_RULE(flow == 7 && sequence == want);
	at = 14 + fuzz_u16(in) % (size - 14);
	frame[at] ^= (uint8_t)(1u << fuzz_u8(in) % 8);
	FUZZ_RULE(vdp_frame_check(frame, size, &flow, &sequence) != VDP_FRAME_GOOD);
	FUZZ_RULE(vdp_frame_check(frame, size - 1, &flow, &sequence) != VDP_FRAME_GOOD);
	free(frame);
}

/* A number that was seen is never new again. */
static void check_ledger(struct fuzz_input *in)
{
	static struct vdp_ledger ledger;
	uint64_t at = fuzz_u32(in);

	vdp_ledger_init(&ledger, at);
	for (uint32_t i = 0; i < 64 && fuzz_more(in); i++) {
		uint8_t kind = fuzz_u8(in);

		at = kind < 0xe0 ? at + kind % 16u - 4 : kind < 0xf8 ? at + fuzz_u16(in) * 8u : fuzz_u64(in);
		vdp_ledger_see(&ledger, at);
		FUZZ_RULE(at + 1 == 0 || vdp_ledger_see(&ledger, at) == VDP_LEDGER_TWICE);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
	struct fuzz_input in = {data, data + length};

	check_bytes(data, length);
	if (fuzz_u8(&in) & 1)
		check_ours(&in);
	else
		check_ledger(&in);
	return 0;
}
