/* The driver's half against a small device, well-behaved and not. */
#include <errno.h>

#include "check.h"
#include "echo_device.h"
#include "split_driver.h"

static struct ring ring;
static struct vdp_driver_conf conf;
static struct vdp_split_driver *drv;

static void setup(uint16_t size, uint16_t flags, uint16_t start)
{
	ring_init(&ring, &conf, size, flags);
	conf.start = ring.taken = start;
	CHECK_EQ(vdp_split_driver_init(&drv, &conf), 0);
}

static void teardown(void)
{
	vdp_split_driver_fini(drv);
	ring_fini(&ring, &conf);
}

static int add(uint32_t readable, uint32_t writable, uint64_t cookie)
{
	struct vdp_buf bufs[32];

	for (uint32_t i = 0; i < readable + writable; i++)
		bufs[i] = (struct vdp_buf){0x1000 + 0x100 * i, 10 + i, i >= readable};
	return vdp_split_driver_add(drv, bufs, readable + writable, cookie);
}

static struct vdp_driver_state state(void)
{
	struct vdp_driver_state ret;

	vdp_split_driver_state(drv, &ret);
	return ret;
}

static void use(uint32_t id, uint32_t len)
{
	ring_put(&ring, 0, id, len);
	ring_push(&ring, 1);
}

static void test_conf(void)
{
	static const uint16_t bad[] = {0, 3, 65535};

	ring_init(&ring, &conf, 8, 0);
	for (int i = 0; i < 3; i++) {
		conf.size = bad[i];
		CHECK_EQ(vdp_split_driver_init(&drv, &conf), -EINVAL);
	}
	conf.size = 8;
	conf.used = (char *)conf.used + 2;
	CHECK_EQ(vdp_split_driver_init(&drv, &conf), -EINVAL);
	ring_fini(&ring, &conf);
}

static void test_chain(uint16_t flags)
{
	struct vdp_buf bufs[8];
	uint16_t head;

	setup(8, flags, 0);
	CHECK(add(2, 3, 99) >= 0);
	CHECK_EQ(state().free, flags & VDP_DRIVER_INDIRECT ? 7 : 3);
	CHECK(!ring_peek(&ring, &head)); /* not published */
	CHECK_EQ(vdp_split_driver_publish(drv), 1);
	CHECK(ring_peek(&ring, &head));
	CHECK_EQ(!!(ring.desc[head].flags & VRING_DESC_F_INDIRECT), !!(flags & VDP_DRIVER_INDIRECT));
	CHECK_EQ(ring_walk(&ring, head, bufs, 8), 5);
	for (uint32_t i = 0; i < 5; i++) {
		CHECK_EQ(bufs[i].addr, 0x1000 + 0x100 * i);
		CHECK_EQ(bufs[i].len, 10 + i);
		CHECK_EQ(bufs[i].writable, i >= 2);
	}
	teardown();
}

static void test_refused(void)
{
	struct vdp_buf bufs[2] = {{.addr = 1, .len = 1, .writable = 1}, {.addr = 2, .len = 1, .writable = 0}};

	setup(4, 0, 0);
	CHECK_EQ(vdp_split_driver_add(drv, bufs, 2, 0), -EINVAL);
	CHECK_EQ(vdp_split_driver_add(drv, bufs, 0, 0), -EINVAL);
	CHECK_EQ(add(5, 0, 0), -ENOSPC);
	CHECK(add(3, 0, 0) >= 0);
	CHECK_EQ(add(2, 0, 0), -ENOSPC);
	CHECK(add(1, 0, 0) >= 0);
	CHECK_EQ(vdp_split_driver_next_head(drv), -ENOSPC);
	CHECK_EQ(vdp_split_driver_room(drv, 1), 0);
	teardown();
}

/* Many laps over the 16-bit index, chains of all lengths, used out of order in pairs. */
static void test_laps(uint16_t flags)
{
	struct vdp_used used[4];
	uint16_t heads[2];
	int n;

	setup(16, flags, 65000);
	for (uint64_t i = 0; i < 70000; i++) {
		CHECK(add((uint32_t)i % 3, 1 + (uint32_t)i % 4, 2 * i) >= 0);
		CHECK(add(1, 2, 2 * i + 1) >= 0);
		CHECK_EQ(vdp_split_driver_publish(drv), 2);
		for (int k = 0; k < 2; k++, ring.taken++)
			CHECK(ring_peek(&ring, &heads[k]));
		ring_put(&ring, 0, heads[1], 11 + 12);
		ring_put(&ring, 1, heads[0], 3);
		ring_push(&ring, 2);
		n = vdp_split_driver_pop(drv, used, 4);
		CHECK_EQ(n, 2);
		CHECK_EQ(used[0].cookie, 2 * i + 1);
		CHECK_EQ(used[0].len, 23);
		CHECK_EQ(used[1].cookie, 2 * i);
		CHECK_EQ(vdp_split_driver_outstanding(drv), 0);
		CHECK_EQ(state().free, 16);
	}
	teardown();
}

static void expect_fault(uint32_t code, uint32_t detail)
{
	struct vdp_used used[8];

	CHECK_EQ(vdp_split_driver_pop(drv, used, 8), -EPROTO);
	CHECK_EQ(vdp_split_driver_pop(drv, used, 8), -EPROTO);
	CHECK_EQ(state().fault, code);
	CHECK_EQ(state().fault_detail, detail);
	teardown();
}

static void setup_one(void)
{
	setup(8, 0, 0);
	CHECK_EQ(add(1, 1, 5), 0);
	vdp_split_driver_publish(drv);
}

static void test_faulty_device(void)
{
	struct vdp_used used[8];

	setup_one();
	use(8, 0);
	expect_fault(VDP_DRIVER_BAD_ID, 8);
	setup_one();
	use(0xffffffff, 0);
	expect_fault(VDP_DRIVER_BAD_ID, 0xffffffff);
	setup_one();
	use(1, 0); /* inside the chain, not its head */
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 1);
	setup_one();
	use(0, 12);
	expect_fault(VDP_DRIVER_BAD_LENGTH, 12);
	setup_one();
	ring_push(&ring, 2);
	expect_fault(VDP_DRIVER_USED_JUMP, 2);
	setup_one();
	ring_push(&ring, 65535);
	expect_fault(VDP_DRIVER_USED_JUMP, 65535);

	/* The same chain twice: the first is good, the second is not. */
	setup_one();
	CHECK_EQ(add(1, 0, 6), 2);
	vdp_split_driver_publish(drv);
	ring_put(&ring, 0, 0, 11);
	ring_put(&ring, 1, 0, 0);
	ring_push(&ring, 2);
	CHECK_EQ(vdp_split_driver_pop(drv, used, 8), 1);
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 0);

	/* Added, but not yet the device's. */
	setup_one();
	CHECK_EQ(add(1, 0, 6), 2);
	use(2, 0);
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 2);
}

static bool kick_after_add(void)
{
	CHECK(add(1, 0, 0) >= 0);
	vdp_split_driver_publish(drv);
	return vdp_split_driver_must_kick(drv);
}

static void test_kicks(void)
{
	setup(8, 0, 0);
	CHECK(!vdp_split_driver_must_kick(drv));
	CHECK(kick_after_add());
	CHECK(!vdp_split_driver_must_kick(drv)); /* asked already */
	ring.used->flags = VRING_USED_F_NO_NOTIFY;
	CHECK(!kick_after_add());
	teardown();

	setup(8, VDP_DRIVER_EVENT_IDX, 65534);
	ring.used->flags = VRING_USED_F_NO_NOTIFY; /* no meaning with EVENT_IDX */
	ring_set_avail_event(&ring, 65535);
	CHECK(!kick_after_add());
	CHECK(kick_after_add());
	CHECK(!kick_after_add());
	ring_set_avail_event(&ring, 2);
	CHECK(!kick_after_add());
	CHECK(add(1, 0, 0) >= 0);
	CHECK(kick_after_add()); /* passed within a batch */
	teardown();
}

static bool call_after_use(uint32_t id)
{
	ring_put(&ring, 0, id, 0);
	return ring_push(&ring, 1);
}

static void test_calls(uint16_t flags)
{
	struct vdp_used used[8];

	setup(8, flags, 0);
	for (int i = 0; i < 6; i++)
		add(1, 0, 0);
	vdp_split_driver_publish(drv);
	CHECK(vdp_split_driver_want_calls(drv, 0));
	CHECK(call_after_use(0));
	CHECK(!vdp_split_driver_want_calls(drv, 0)); /* came in between: pop first */
	CHECK_EQ(vdp_split_driver_pop(drv, used, 8), 1);
	vdp_split_driver_no_calls(drv);
	CHECK(!call_after_use(1));
	CHECK_EQ(vdp_split_driver_pop(drv, used, 8), 1);
	CHECK(vdp_split_driver_want_calls(drv, 1));
	CHECK_EQ(call_after_use(2), !(flags & VDP_DRIVER_EVENT_IDX));
	CHECK(call_after_use(3));
	teardown();
}

static void test_raw_store(void)
{
	uint16_t cells[3] = {1, 2, 3};

	CHECK_EQ(vdp_ring_store16(&cells[1], 0xbeef), 0);
	CHECK_EQ(cells[0], 1);
	CHECK_EQ(cells[1], 0xbeef);
	CHECK_EQ(cells[2], 3);
}

int main(void)
{
	test_conf();
	test_chain(0);
	test_chain(VDP_DRIVER_INDIRECT);
	test_refused();
	test_laps(0);
	test_laps(VDP_DRIVER_INDIRECT | VDP_DRIVER_EVENT_IDX);
	test_faulty_device();
	test_kicks();
	test_calls(0);
	test_calls(VDP_DRIVER_EVENT_IDX);
	test_raw_store();
	return 0;
}
