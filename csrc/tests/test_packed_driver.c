/* The driver's half of a packed ring against a small device that keeps the rules. */
#include "packed_echo.h"

static struct packed dev;

static void refuse(const struct vdp_driver_conf *bad)
{
	CHECK_EQ(vdp_packed_driver_init(&dev.drv, bad), -EINVAL);
}

static void test_conf(void)
{
	static const uint16_t sizes[] = {1, 3, 32768};
	struct vdp_driver_conf bad;

	for (int i = 0; i < 3; i++) {
		packed_setup(&dev, sizes[i], 0, START);
		vdp_packed_driver_fini(dev.drv);
		bad = dev.conf;
		bad.size = 0;
		refuse(&bad);
		bad.size = 32769;
		refuse(&bad);
		bad = dev.conf;
		bad.desc = (char *)bad.desc + 8;
		refuse(&bad);
		bad = dev.conf;
		bad.used = (char *)bad.used + 2;
		refuse(&bad);
		bad = dev.conf;
		bad.start = dev.conf.size;
		if (dev.conf.size < 32768)
			refuse(&bad);
		CHECK_EQ(vdp_packed_driver_init(&dev.drv, &dev.conf), 0);
		packed_teardown(&dev);
	}
}

static void test_chain(uint16_t flags)
{
	struct taken chain;

	packed_setup(&dev, 7, flags, START);
	CHECK(packed_add(&dev, 2, 3, 99) >= 0);
	CHECK_EQ(packed_state(&dev).free, flags & VDP_DRIVER_INDIRECT ? 6 : 2);
	CHECK(!packed_take(&dev, &chain)); /* not published */
	CHECK_EQ(packed_state(&dev).added, 1);
	CHECK_EQ(vdp_packed_driver_publish(dev.drv), 1);
	CHECK_EQ(vdp_packed_driver_publish(dev.drv), 0);
	CHECK(packed_take(&dev, &chain));
	CHECK_EQ(chain.indirect, !!(flags & VDP_DRIVER_INDIRECT));
	CHECK_EQ(chain.count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		CHECK_EQ(chain.bufs[i].addr, 0x1000 + 0x100 * i);
		CHECK_EQ(chain.bufs[i].len, 10 + i);
		CHECK_EQ(chain.bufs[i].writable, i >= 2);
	}
	CHECK(!packed_take(&dev, &chain));
	packed_teardown(&dev);
}

static void test_refused(void)
{
	struct vdp_buf bufs[2] = {{.addr = 1, .len = 1, .writable = 1}, {.addr = 2, .len = 1, .writable = 0}};

	packed_setup(&dev, 5, 0, START);
	CHECK_EQ(vdp_packed_driver_add(dev.drv, bufs, 2, 0), -EINVAL);
	CHECK_EQ(vdp_packed_driver_add(dev.drv, bufs, 0, 0), -EINVAL);
	CHECK_EQ(packed_add(&dev, 6, 0, 0), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_room(dev.drv, 2), 2);
	CHECK_EQ(vdp_packed_driver_next_head(dev.drv), 0);
	CHECK_EQ(packed_add(&dev, 4, 0, 0), 0);
	CHECK_EQ(packed_add(&dev, 2, 0, 0), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_next_head(dev.drv), 1);
	CHECK_EQ(packed_add(&dev, 1, 0, 0), 1);
	CHECK_EQ(vdp_packed_driver_next_head(dev.drv), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_room(dev.drv, 1), 0);
	packed_teardown(&dev);
}

/* A batch appears at once: while its first descriptor waits, the device sees nothing of it. */
static void test_batch(void)
{
	struct taken chain;

	packed_setup(&dev, 8, 0, START);
	for (int i = 0; i < 3; i++)
		CHECK(packed_add(&dev, 1, 1, 0) >= 0);
	CHECK(!packed_take(&dev, &chain));
	CHECK_EQ(vdp_packed_driver_publish(dev.drv), 3);
	for (int i = 0; i < 3; i++)
		CHECK(packed_take(&dev, &chain));
	CHECK(!packed_take(&dev, &chain));
	CHECK_EQ(packed_state(&dev).outstanding, 3);
	packed_teardown(&dev);
}

/* Many laps over sizes of all kinds, chains of all lengths, used out of order in pairs. */
static void test_laps(uint16_t size, uint16_t flags, uint16_t start)
{
	struct taken chains[2];
	struct vdp_used used[4];

	packed_setup(&dev, size, flags, start);
	for (uint64_t i = 0; i < 20000; i++) {
		CHECK(packed_add(&dev, (uint32_t)i % 3, 1 + (uint32_t)i % 4, 2 * i) >= 0);
		CHECK(packed_add(&dev, 1, 2, 2 * i + 1) >= 0);
		CHECK_EQ(vdp_packed_driver_publish(dev.drv), 2);
		CHECK(packed_take(&dev, &chains[0]) && packed_take(&dev, &chains[1]));
		packed_use(&dev, chains[1].id, 11 + 12, chains[1].length);
		CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 4), 1);
		packed_use(&dev, chains[0].id, 3, chains[0].length);
		CHECK_EQ(vdp_packed_driver_pop(dev.drv, used + 1, 4), 1);
		CHECK_EQ(used[0].cookie, 2 * i + 1);
		CHECK_EQ(used[0].len, 23);
		CHECK_EQ(used[1].cookie, 2 * i);
		CHECK_EQ(used[1].len, 3);
		CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 4), 0);
		CHECK_EQ(packed_state(&dev).outstanding, 0);
		CHECK_EQ(packed_state(&dev).free, size);
		CHECK_EQ(packed_state(&dev).used_idx, dev.used);
		CHECK_EQ(packed_state(&dev).avail_idx, dev.next);
	}
	packed_teardown(&dev);
}

/* A ring of one descriptor: the wrap counter alone tells the laps apart. */
static void test_one(void)
{
	struct taken chain;
	struct vdp_used used;

	packed_setup(&dev, 1, VDP_DRIVER_EVENT_IDX, START);
	for (uint64_t i = 0; i < 100; i++) {
		CHECK_EQ(packed_add(&dev, 1, 0, i), 0);
		CHECK_EQ(packed_add(&dev, 1, 0, i), -ENOSPC);
		vdp_packed_driver_publish(dev.drv);
		CHECK_EQ(vdp_packed_driver_pop(dev.drv, &used, 1), 0);
		CHECK(packed_take(&dev, &chain));
		CHECK(!packed_take(&dev, &chain));
		CHECK(vdp_packed_driver_want_calls(dev.drv, 0));
		CHECK(packed_use(&dev, 0, 0, 1));
		CHECK_EQ(vdp_packed_driver_pop(dev.drv, &used, 1), 1);
		CHECK_EQ(used.cookie, i);
	}
	packed_teardown(&dev);
}

/* Where the device does not say that it wrote, the length is reserved; QEMU means it all the same. */
static void test_length_without_write(uint32_t said, uint32_t taken)
{
	struct vdp_used used;

	packed_setup(&dev, 8, 0, START);
	CHECK_EQ(packed_add(&dev, 1, 1, 5), 0);
	vdp_packed_driver_publish(dev.drv);
	dev.desc[0].length = said;
	dev.desc[0].id = 0;
	dev.desc[0].flags = vdp_packed_used_flags(START);
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, &used, 1), 1);
	CHECK_EQ(used.len, taken);
	CHECK_EQ(used.cookie, 5);
	packed_teardown(&dev);
}

static bool kick_after_add(void)
{
	CHECK(packed_add(&dev, 1, 0, 0) >= 0);
	vdp_packed_driver_publish(dev.drv);
	return vdp_packed_driver_must_kick(dev.drv);
}

static void test_kicks(void)
{
	packed_setup(&dev, 8, 0, START);
	CHECK(!vdp_packed_driver_must_kick(dev.drv));
	CHECK(kick_after_add());
	CHECK(!vdp_packed_driver_must_kick(dev.drv)); /* asked already */
	dev.device_event->flags = VDP_PACKED_EVENT_DISABLE;
	CHECK(!kick_after_add());
	packed_teardown(&dev);

	/* Begins two before the end: the event lies behind the wrap. */
	packed_setup(&dev, 8, VDP_DRIVER_EVENT_IDX, 6 | VDP_PACKED_WRAP);
	dev.device_event->position = 0; /* wrap counter 0: the next lap */
	dev.device_event->flags = VDP_PACKED_EVENT_DESC;
	CHECK(!kick_after_add());
	CHECK(!kick_after_add());
	CHECK(kick_after_add());
	CHECK(!kick_after_add());
	dev.device_event->position = 3;
	CHECK(!kick_after_add());
	CHECK(packed_add(&dev, 1, 0, 0) >= 0);
	CHECK(kick_after_add()); /* passed within a batch */
	packed_teardown(&dev);
}

static void test_calls(uint16_t flags)
{
	struct vdp_used used[8];
	struct taken chain;

	packed_setup(&dev, 8, flags, 5);
	for (int i = 0; i < 6; i++) {
		packed_add(&dev, 1, 0, 0);
		vdp_packed_driver_publish(dev.drv);
		CHECK(packed_take(&dev, &chain));
	}
	CHECK(vdp_packed_driver_want_calls(dev.drv, 0));
	CHECK(packed_use(&dev, 0, 0, 1));
	CHECK(!vdp_packed_driver_want_calls(dev.drv, 0)); /* came in between: pop first */
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 1);
	vdp_packed_driver_no_calls(dev.drv);
	CHECK(!packed_use(&dev, 1, 0, 1));
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 1);
	CHECK(vdp_packed_driver_want_calls(dev.drv, 1));
	CHECK_EQ(packed_use(&dev, 2, 0, 1), !(flags & VDP_DRIVER_EVENT_IDX));
	CHECK(packed_use(&dev, 3, 0, 1)); /* over the wrap: 5 + 3 */
	packed_teardown(&dev);
}

int main(void)
{
	test_conf();
	test_chain(0);
	test_chain(VDP_DRIVER_INDIRECT);
	test_refused();
	test_batch();
	test_laps(9, 0, START);
	test_laps(16, VDP_DRIVER_INDIRECT | VDP_DRIVER_EVENT_IDX, START);
	test_laps(23, VDP_DRIVER_EVENT_IDX, 22);
	test_laps(32768, 0, 32767);
	test_one();
	test_length_without_write(9999, 0);
	test_length_without_write(7, 7);
	test_kicks();
	test_calls(0);
	test_calls(VDP_DRIVER_EVENT_IDX);
	return 0;
}
