/* IN_ORDER in the driver's half: one used entry for a batch, split and packed; and devices that break it. */
#include <errno.h>

#include "echo_device.h"
#include "packed_echo.h"

#define IN_ORDER VDP_DRIVER_IN_ORDER

static struct ring ring;
static struct vdp_driver_conf conf;
static struct vdp_split_driver *split;
static struct packed packed;

static void split_setup(uint16_t size, uint16_t flags, uint16_t start)
{
	ring_init(&ring, &conf, size, flags);
	conf.start = ring.taken = start;
	CHECK_EQ(vdp_split_driver_init(&split, &conf), 0);
}

static void split_teardown(void)
{
	vdp_split_driver_fini(split);
	ring_fini(&ring, &conf);
}

static int split_add(uint32_t readable, uint32_t writable, uint64_t cookie)
{
	struct vdp_buf bufs[32];

	for (uint32_t i = 0; i < readable + writable; i++)
		bufs[i] = (struct vdp_buf){0x1000 + 0x100 * i, 10 + i, i >= readable};
	return vdp_split_driver_add(split, bufs, readable + writable, cookie);
}

/* An entry for the batch that ends with this chain. */
static void split_use(uint32_t id, uint32_t len, uint16_t chains)
{
	ring_put(&ring, 0, id, len);
	ring_push(&ring, chains);
}

static void check_used(const struct vdp_used *used, uint64_t cookie, uint32_t len)
{
	CHECK_EQ(used->cookie, cookie);
	CHECK_EQ(used->len, len);
}

/* Of a batch, all but the last were used in full. It may be taken piece by piece. */
static void test_split_batch(uint32_t at_a_time)
{
	struct vdp_used used[8];
	int heads[4], n = 0;

	split_setup(16, IN_ORDER, 0);
	for (uint32_t i = 0; i < 4; i++)
		heads[i] = split_add(1, i, i);
	CHECK_EQ(vdp_split_driver_publish(split), 4);
	memset(
	    ring.used->ring, 0xff, 16 * sizeof(ring.used->ring[0])); /* no entry but the one is looked at */
	split_use((uint32_t)heads[3], 5, 4);
	while (n < 4) {
		int got = vdp_split_driver_pop(split, used + n, at_a_time);

		CHECK_EQ(got, at_a_time < 4 ? at_a_time : 4);
		n += got;
		CHECK_EQ(vdp_split_driver_outstanding(split), 4 - n);
		CHECK_EQ(vdp_split_driver_want_calls(split, 0), n == 4);
	}
	check_used(&used[0], 0, 0);
	check_used(&used[1], 1, 11);
	check_used(&used[2], 2, 11 + 12);
	check_used(&used[3], 3, 5);
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), 0);
	/* The next entry lies where the next batch begins. */
	CHECK(split_add(1, 1, 9) >= 0);
	vdp_split_driver_publish(split);
	CHECK_EQ(ring.used->idx, 4);
	split_use((uint32_t)(heads[3] + 4), 11, 1);
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), 1);
	check_used(&used[0], 9, 11);
	split_teardown();
}

/* 2.7.5: descriptors are used in the order of the table, round and round. */
static void check_table_order(uint16_t head, uint32_t count, uint16_t *expected)
{
	uint16_t at = head;

	for (uint32_t i = 0; i < count; i++) {
		CHECK_EQ(at, *expected);
		*expected = (uint16_t)((*expected + 1u) % ring.size);
		CHECK_EQ(!!(ring.desc[at].flags & VRING_DESC_F_NEXT), i + 1 < count);
		at = ring.desc[at].next;
	}
}

/* Batches of 1 to 3 chains of all lengths, many laps, over the wrap of the 16-bit index. */
static void test_split_laps(uint16_t flags)
{
	struct vdp_used used[8];
	struct vdp_driver_state state;
	uint16_t expected = 0, head = 0;

	split_setup(16, IN_ORDER | flags, 65000);
	for (uint64_t i = 0, cookie = 0; i < 30000; i++) {
		uint32_t chains = 1 + (uint32_t)i % 3, full[3];

		for (uint32_t k = 0; k < chains; k++) {
			uint32_t readable = 1 + (uint32_t)i % 2, writable = (uint32_t)(i + k) % 3;

			full[k] = writable * (10 + readable) + (writable == 2);
			CHECK(split_add(readable, writable, cookie + k) >= 0);
			vdp_split_driver_publish(split);
			CHECK(ring_peek(&ring, &head));
			ring.taken++;
			if (!(flags & VDP_DRIVER_INDIRECT))
				check_table_order(head, readable + writable, &expected);
		}
		full[chains - 1] /= 2;
		split_use(head, full[chains - 1], (uint16_t)chains);
		CHECK_EQ(vdp_split_driver_pop(split, used, 8), (int)chains);
		for (uint32_t k = 0; k < chains; k++)
			check_used(&used[k], cookie++, full[k]);
	}
	vdp_split_driver_state(split, &state);
	CHECK_EQ(state.free, 16);
	CHECK_EQ(state.used_idx, ring.used->idx);
	split_teardown();
}

static void split_fault(uint32_t code, uint32_t detail)
{
	struct vdp_driver_state state;
	struct vdp_used used[8];

	CHECK_EQ(vdp_split_driver_pop(split, used, 8), -EPROTO);
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), -EPROTO);
	vdp_split_driver_state(split, &state);
	CHECK_EQ(state.fault, code);
	CHECK_EQ(state.fault_detail, detail);
	split_teardown();
}

static void split_three(void)
{
	split_setup(8, IN_ORDER, 0);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(split_add(0, 1, i), i);
	vdp_split_driver_publish(split);
}

static void test_split_breaches(void)
{
	struct vdp_used used[8];

	split_three();
	split_use(1, 1, 1); /* the second, and chain 0 is not used */
	split_fault(VDP_DRIVER_OUT_OF_ORDER, 1);

	split_three();
	split_use(0, 1, 1);
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), 1);
	split_use(0, 1, 1); /* again */
	split_fault(VDP_DRIVER_NOT_OUTSTANDING, 0);

	split_three();
	split_use(1, 1, 2);
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), 2);
	split_use(0, 1, 1); /* backwards */
	split_fault(VDP_DRIVER_NOT_OUTSTANDING, 0);

	split_three();
	CHECK_EQ(split_add(0, 1, 3), 3); /* not published */
	split_use(3, 1, 3);
	split_fault(VDP_DRIVER_NOT_OUTSTANDING, 3);

	split_three();
	split_use(2, 11, 3);
	split_fault(VDP_DRIVER_BAD_LENGTH, 11);

	split_three();
	split_use(8, 1, 3);
	split_fault(VDP_DRIVER_BAD_ID, 8);

	split_three();
	split_use(0, 1, 3); /* a batch of one; what follows it is no entry */
	ring.used->ring[1].id = 99;
	CHECK_EQ(vdp_split_driver_pop(split, used, 8), 1);
	split_fault(VDP_DRIVER_BAD_ID, 99);
}

static void test_packed_batch(uint32_t at_a_time)
{
	struct vdp_used used[8];
	struct taken chain;
	int n = 0;

	packed_setup(&packed, 11, IN_ORDER, 7); /* over the end of the ring */
	for (uint32_t i = 0; i < 4; i++)
		CHECK_EQ(packed_add(&packed, 1, i, i), i);
	CHECK_EQ(vdp_packed_driver_publish(packed.drv), 4);
	for (uint32_t i = 0; i < 4; i++)
		CHECK(packed_take(&packed, &chain));
	packed_use(&packed, 3, 5, 1 + 2 + 3 + 4);
	while (n < 4) {
		int got = vdp_packed_driver_pop(packed.drv, used + n, at_a_time);

		CHECK_EQ(got, at_a_time < 4 ? at_a_time : 4);
		n += got;
		CHECK_EQ(packed_state(&packed).outstanding, 4 - n);
		CHECK_EQ(vdp_packed_driver_want_calls(packed.drv, 0), n == 4);
	}
	check_used(&used[0], 0, 0);
	check_used(&used[1], 1, 11);
	check_used(&used[2], 2, 11 + 12);
	check_used(&used[3], 3, 5);
	CHECK_EQ(packed_state(&packed).used_idx, packed.used);
	CHECK_EQ(packed_state(&packed).free, 11);
	packed_teardown(&packed);
}

static void test_packed_laps(uint16_t size, uint16_t flags)
{
	struct vdp_used used[8];
	struct taken chain;

	packed_setup(&packed, size, IN_ORDER | flags, START);
	for (uint64_t i = 0, cookie = 0; i < 20000; i++) {
		uint32_t chains = 1 + (uint32_t)i % 3, full[3];
		uint16_t length = 0;

		for (uint32_t k = 0; k < chains; k++) {
			uint32_t readable = 1 + (uint32_t)i % 2, writable = (uint32_t)(i + k) % 3;

			full[k] = writable * (10 + readable) + (writable == 2);
			CHECK(packed_add(&packed, readable, writable, cookie + k) >= 0);
			vdp_packed_driver_publish(packed.drv);
			CHECK(packed_take(&packed, &chain));
			length = (uint16_t)(length + chain.length);
		}
		full[chains - 1] /= 2;
		packed_use(&packed, chain.id, full[chains - 1], length);
		CHECK_EQ(vdp_packed_driver_pop(packed.drv, used, 8), (int)chains);
		for (uint32_t k = 0; k < chains; k++)
			check_used(&used[k], cookie++, full[k]);
		CHECK_EQ(packed_state(&packed).used_idx, packed.used);
	}
	CHECK_EQ(packed_state(&packed).free, size);
	packed_teardown(&packed);
}

static void packed_three(void)
{
	packed_setup(&packed, 8, IN_ORDER, START);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_EQ(packed_add(&packed, 0, 1, i), i);
	vdp_packed_driver_publish(packed.drv);
}

static void test_packed_breaches(void)
{
	struct vdp_used used[8];

	packed_three();
	packed_use(&packed, 1, 1, 2);
	CHECK_EQ(vdp_packed_driver_pop(packed.drv, used, 8), 2);
	packed_use(&packed, 0, 1, 1); /* backwards */
	packed_expect_fault(&packed, VDP_DRIVER_NOT_OUTSTANDING, 0);

	packed_three();
	CHECK_EQ(packed_add(&packed, 0, 1, 3), 3); /* not published */
	packed_use(&packed, 3, 1, 4);
	packed_expect_fault(&packed, VDP_DRIVER_NOT_OUTSTANDING, 3);

	packed_three();
	packed_use(&packed, 2, 11, 3);
	packed_expect_fault(&packed, VDP_DRIVER_BAD_LENGTH, 11);

	packed_three();
	packed_use(&packed, 8, 1, 3);
	packed_expect_fault(&packed, VDP_DRIVER_BAD_ID, 8);
}

int main(void)
{
	test_split_batch(1);
	test_split_batch(2);
	test_split_batch(8);
	test_split_laps(0);
	test_split_laps(VDP_DRIVER_INDIRECT | VDP_DRIVER_EVENT_IDX);
	test_split_breaches();
	test_packed_batch(1);
	test_packed_batch(2);
	test_packed_batch(8);
	test_packed_laps(17, 0);
	test_packed_laps(16, VDP_DRIVER_INDIRECT | VDP_DRIVER_EVENT_IDX);
	test_packed_breaches();
	return 0;
}
