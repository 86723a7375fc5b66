/* A frame that was sent is good; one that differs anywhere is not. Numbers are accounted for exactly. */
#include <string.h>

#include "check.h"
#include "frame.h"
#include "ledger.h"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
static uint8_t frame[VDP_FRAME_MAX], other[VDP_FRAME_MAX];

static struct vdp_frame_shape shape_of(uint32_t size)
{
	struct vdp_frame_shape shape;

	vdp_frame_prepare(frame, size, 7, mac, mac);
	vdp_frame_shape_init(&shape, frame, size);
	return shape;
}

static void test_good(void)
{
	static const uint32_t sizes[] = {60, 61, 64, 65, 127, 1514, 1518, 9000, 65535};
	uint64_t sequence;
	uint32_t flow;

	for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vdp_frame_shape shape = shape_of(sizes[i]);

		for (uint64_t number = 0; number < UINT64_MAX / 3; number = number * 5 + 1) {
			vdp_frame_number(frame, &shape, number);
			CHECK_EQ(vdp_frame_check(frame, sizes[i], &flow, &sequence), VDP_FRAME_GOOD);
			CHECK_EQ(flow, 7);
			CHECK(sequence == number);
		}
		CHECK(vdp_frame_check(frame, sizes[i] - 1, &flow, &sequence) != VDP_FRAME_GOOD);
	}
}

static void test_each_bit(void)
{
	struct vdp_frame_shape shape = shape_of(200);
	uint64_t sequence;
	uint32_t flow;

	vdp_frame_number(frame, &shape, 123456789);
	for (uint32_t bit = 12 * 8; bit < 200 * 8; bit++) {
		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(vdp_frame_check(frame, 200, &flow, &sequence) != VDP_FRAME_GOOD);
		frame[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	CHECK_EQ(vdp_frame_check(frame, 200, &flow, &sequence), VDP_FRAME_GOOD);
}

/* The head of one frame and the tail of the next. */
static void test_torn(void)
{
	struct vdp_frame_shape shape = shape_of(1514);
	uint64_t sequence;
	uint32_t flow;

	vdp_frame_number(frame, &shape, 41);
	memcpy(other, frame, 1514);
	vdp_frame_number(frame, &shape, 42);
	for (uint32_t at = 64; at < 1472; at += 64) {
		memcpy(other, frame, at);
		CHECK_EQ(vdp_frame_check(other, 1514, &flow, &sequence), VDP_FRAME_CORRUPT);
	}
}

static void test_foreign(void)
{
	uint64_t sequence;
	uint32_t flow;

	memset(frame, 0, 100);
	CHECK_EQ(vdp_frame_check(frame, 100, &flow, &sequence), VDP_FRAME_FOREIGN);
	frame[12] = 0x88;
	frame[13] = 0xb5;
	frame[21] = 9;
	CHECK_EQ(vdp_frame_check_generated(frame, 100, &sequence), VDP_FRAME_GOOD);
	CHECK(sequence == 9);
	CHECK_EQ(vdp_frame_check_generated(frame, 13, &sequence), VDP_FRAME_FOREIGN);
}

static void test_ledger(void)
{
	static struct vdp_ledger ledger;

	vdp_ledger_init(&ledger, 10);
	CHECK_EQ(vdp_ledger_see(&ledger, 9), VDP_LEDGER_TWICE);
	CHECK_EQ(vdp_ledger_see(&ledger, 10), VDP_LEDGER_IN_ORDER);
	CHECK_EQ(vdp_ledger_see(&ledger, 13), VDP_LEDGER_IN_ORDER);
	CHECK_EQ(ledger.missing, 2);
	CHECK_EQ(vdp_ledger_see(&ledger, 12), VDP_LEDGER_LATE);
	CHECK_EQ(vdp_ledger_see(&ledger, 12), VDP_LEDGER_TWICE);
	CHECK_EQ(vdp_ledger_see(&ledger, 13), VDP_LEDGER_TWICE);
	CHECK_EQ(ledger.missing, 1);
	CHECK_EQ(vdp_ledger_see(&ledger, 13 + 3 * VDP_LEDGER_BITS), VDP_LEDGER_IN_ORDER);
	CHECK_EQ(ledger.missing, 3 * VDP_LEDGER_BITS);
	CHECK_EQ(vdp_ledger_see(&ledger, 14), VDP_LEDGER_TWICE); /* too old to tell */
	CHECK_EQ(vdp_ledger_see(&ledger, 12 + 3 * VDP_LEDGER_BITS), VDP_LEDGER_LATE);
}

int main(void)
{
	test_good();
	test_each_bit();
	test_torn();
	test_foreign();
	test_ledger();
	return 0;
}
