/* The driver's half of a packed ring against a small device, well-behaved and not. */
#include <errno.h>
#include <string.h>

#include "check.h"
#include "packed_driver.h"
#include "packed_ring.h"

#define START VDP_PACKED_START

/* The smallest device half: the simplest reading of 2.8.24, no checks. */
static struct {
	struct vdp_packed_desc *desc;
	struct vdp_packed_event *driver_event, *device_event;
	uint32_t size;
	uint16_t next; /* to look at */
	uint16_t used; /* to write */
} dev;

static struct vdp_driver_conf conf;
static struct vdp_packed_driver *drv;

static void *memory(uint64_t bytes)
{
	void *ret = aligned_alloc(4096, (bytes + 4095) & ~4095ull);

	CHECK(ret);
	memset(ret, 0xa5, bytes);
	return ret;
}

static void setup(uint16_t size, uint16_t flags, uint16_t start)
{
	memset(&conf, 0, sizeof(conf));
	dev.size = conf.size = size;
	dev.desc = conf.desc = memory(16u * size);
	dev.driver_event = conf.avail = memory(4);
	dev.device_event = conf.used = memory(4);
	dev.next = dev.used = conf.start = start;
	conf.flags = flags;
	if (flags & VDP_DRIVER_INDIRECT) {
		conf.table_len = 16;
		conf.tables = memory(16u * 16u * size);
		conf.tables_gpa = (uintptr_t)conf.tables;
	}
	CHECK_EQ(vdp_packed_driver_init(&drv, &conf), 0);
}

static void teardown(void)
{
	vdp_packed_driver_fini(drv);
	free(conf.desc);
	free(conf.avail);
	free(conf.used);
	free(conf.tables);
}

struct taken {
	struct vdp_buf bufs[32];
	uint32_t count;  /* of buffers */
	uint16_t length; /* in descriptors */
	uint16_t id;
	bool indirect;
};

static void walk_table(const struct vdp_packed_desc *pointer, struct taken *ret)
{
	const struct vdp_packed_desc *table = (const struct vdp_packed_desc *)(uintptr_t)pointer->addr;

	ret->indirect = true;
	for (ret->count = 0; ret->count < pointer->length / sizeof(*table); ret->count++) {
		const struct vdp_packed_desc *desc = &table[ret->count];

		ret->bufs[ret->count] =
		    (struct vdp_buf){desc->addr, desc->length, !!(desc->flags & VDP_PACKED_WRITE)};
	}
}

/* The next chain, if one is offered. */
static bool take(struct taken *ret)
{
	struct vdp_packed_desc desc;

	memset(ret, 0, sizeof(*ret));
	do {
		desc = dev.desc[vdp_packed_at(dev.next)];
		if (!vdp_packed_is_avail(desc.flags, dev.next)) {
			CHECK_EQ(ret->length, 0); /* a chain is offered as a whole */
			return false;
		}
		if (desc.flags & VDP_PACKED_INDIRECT)
			walk_table(&desc, ret);
		else
			ret->bufs[ret->count++] =
			    (struct vdp_buf){desc.addr, desc.length, !!(desc.flags & VDP_PACKED_WRITE)};
		ret->length++;
		dev.next = vdp_packed_advance(dev.next, 1, dev.size);
	} while (desc.flags & VDP_PACKED_NEXT);
	ret->id = desc.id;
	return true;
}

/* Write a used descriptor; returns whether the driver wants a call. */
static bool use(uint16_t id, uint32_t len, uint16_t length)
{
	struct vdp_packed_desc *desc = &dev.desc[vdp_packed_at(dev.used)];
	uint16_t old = dev.used;

	desc->id = id;
	desc->length = len;
	__atomic_store_n(
	    &desc->flags, vdp_packed_used_flags(dev.used) | (len ? VDP_PACKED_WRITE : 0u), __ATOMIC_RELEASE);
	dev.used = vdp_packed_advance(dev.used, length, dev.size);
	return vdp_packed_wants(dev.driver_event->flags, dev.driver_event->position, old, dev.used, dev.size);
}

static int add(uint32_t readable, uint32_t writable, uint64_t cookie)
{
	struct vdp_buf bufs[32];

	for (uint32_t i = 0; i < readable + writable; i++)
		bufs[i] = (struct vdp_buf){0x1000 + 0x100 * i, 10 + i, i >= readable};
	return vdp_packed_driver_add(drv, bufs, readable + writable, cookie);
}

static struct vdp_driver_state state(void)
{
	struct vdp_driver_state ret;

	vdp_packed_driver_state(drv, &ret);
	return ret;
}

static void refuse(const struct vdp_driver_conf *bad)
{
	CHECK_EQ(vdp_packed_driver_init(&drv, bad), -EINVAL);
}

static void test_conf(void)
{
	static const uint16_t sizes[] = {1, 3, 32768};
	struct vdp_driver_conf bad;

	for (int i = 0; i < 3; i++) {
		setup(sizes[i], 0, START);
		vdp_packed_driver_fini(drv);
		bad = conf;
		bad.size = 0;
		refuse(&bad);
		bad.size = 32769;
		refuse(&bad);
		bad = conf;
		bad.desc = (char *)bad.desc + 8;
		refuse(&bad);
		bad = conf;
		bad.used = (char *)bad.used + 2;
		refuse(&bad);
		bad = conf;
		bad.start = conf.size;
		if (conf.size < 32768)
			refuse(&bad);
		CHECK_EQ(vdp_packed_driver_init(&drv, &conf), 0);
		teardown();
	}
}

static void test_chain(uint16_t flags)
{
	struct taken chain;

	setup(7, flags, START);
	CHECK(add(2, 3, 99) >= 0);
	CHECK_EQ(state().free, flags & VDP_DRIVER_INDIRECT ? 6 : 2);
	CHECK(!take(&chain)); /* not published */
	CHECK_EQ(state().added, 1);
	CHECK_EQ(vdp_packed_driver_publish(drv), 1);
	CHECK_EQ(vdp_packed_driver_publish(drv), 0);
	CHECK(take(&chain));
	CHECK_EQ(chain.indirect, !!(flags & VDP_DRIVER_INDIRECT));
	CHECK_EQ(chain.count, 5);
	for (uint32_t i = 0; i < 5; i++) {
		CHECK_EQ(chain.bufs[i].addr, 0x1000 + 0x100 * i);
		CHECK_EQ(chain.bufs[i].len, 10 + i);
		CHECK_EQ(chain.bufs[i].writable, i >= 2);
	}
	CHECK(!take(&chain));
	teardown();
}

static void test_refused(void)
{
	struct vdp_buf bufs[2] = {{.addr = 1, .len = 1, .writable = 1}, {.addr = 2, .len = 1, .writable = 0}};

	setup(5, 0, START);
	CHECK_EQ(vdp_packed_driver_add(drv, bufs, 2, 0), -EINVAL);
	CHECK_EQ(vdp_packed_driver_add(drv, bufs, 0, 0), -EINVAL);
	CHECK_EQ(add(6, 0, 0), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_room(drv, 2), 2);
	CHECK_EQ(vdp_packed_driver_next_head(drv), 0);
	CHECK_EQ(add(4, 0, 0), 0);
	CHECK_EQ(add(2, 0, 0), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_next_head(drv), 1);
	CHECK_EQ(add(1, 0, 0), 1);
	CHECK_EQ(vdp_packed_driver_next_head(drv), -ENOSPC);
	CHECK_EQ(vdp_packed_driver_room(drv, 1), 0);
	teardown();
}

/* A batch appears at once: while its first descriptor waits, the device sees nothing of it. */
static void test_batch(void)
{
	struct taken chain;

	setup(8, 0, START);
	for (int i = 0; i < 3; i++)
		CHECK(add(1, 1, 0) >= 0);
	CHECK(!take(&chain));
	CHECK_EQ(vdp_packed_driver_publish(drv), 3);
	for (int i = 0; i < 3; i++)
		CHECK(take(&chain));
	CHECK(!take(&chain));
	CHECK_EQ(state().outstanding, 3);
	teardown();
}

/* Many laps over sizes of all kinds, chains of all lengths, used out of order in pairs. */
static void test_laps(uint16_t size, uint16_t flags, uint16_t start)
{
	struct taken chains[2];
	struct vdp_used used[4];

	setup(size, flags, start);
	for (uint64_t i = 0; i < 20000; i++) {
		CHECK(add((uint32_t)i % 3, 1 + (uint32_t)i % 4, 2 * i) >= 0);
		CHECK(add(1, 2, 2 * i + 1) >= 0);
		CHECK_EQ(vdp_packed_driver_publish(drv), 2);
		CHECK(take(&chains[0]) && take(&chains[1]));
		use(chains[1].id, 11 + 12, chains[1].length);
		CHECK_EQ(vdp_packed_driver_pop(drv, used, 4), 1);
		use(chains[0].id, 3, chains[0].length);
		CHECK_EQ(vdp_packed_driver_pop(drv, used + 1, 4), 1);
		CHECK_EQ(used[0].cookie, 2 * i + 1);
		CHECK_EQ(used[0].len, 23);
		CHECK_EQ(used[1].cookie, 2 * i);
		CHECK_EQ(used[1].len, 3);
		CHECK_EQ(vdp_packed_driver_pop(drv, used, 4), 0);
		CHECK_EQ(state().outstanding, 0);
		CHECK_EQ(state().free, size);
		CHECK_EQ(state().used_idx, dev.used);
		CHECK_EQ(state().avail_idx, dev.next);
	}
	teardown();
}

/* A ring of one descriptor: the wrap counter alone tells the laps apart. */
static void test_one(void)
{
	struct taken chain;
	struct vdp_used used;

	setup(1, VDP_DRIVER_EVENT_IDX, START);
	for (uint64_t i = 0; i < 100; i++) {
		CHECK_EQ(add(1, 0, i), 0);
		CHECK_EQ(add(1, 0, i), -ENOSPC);
		vdp_packed_driver_publish(drv);
		CHECK_EQ(vdp_packed_driver_pop(drv, &used, 1), 0);
		CHECK(take(&chain));
		CHECK(!take(&chain));
		CHECK(vdp_packed_driver_want_calls(drv, 0));
		CHECK(use(0, 0, 1));
		CHECK_EQ(vdp_packed_driver_pop(drv, &used, 1), 1);
		CHECK_EQ(used.cookie, i);
	}
	teardown();
}

static void expect_fault(uint32_t code, uint32_t detail)
{
	struct vdp_used used[8];

	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), -EPROTO);
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), -EPROTO);
	CHECK_EQ(state().fault, code);
	CHECK_EQ(state().fault_detail, detail);
	teardown();
}

static void setup_one(void)
{
	setup(8, 0, START);
	CHECK_EQ(add(1, 1, 5), 0);
	vdp_packed_driver_publish(drv);
}

static void test_faulty_device(void)
{
	struct vdp_used used[8];

	setup_one();
	use(8, 0, 1);
	expect_fault(VDP_DRIVER_BAD_ID, 8);
	setup_one();
	use(0xffff, 0, 1);
	expect_fault(VDP_DRIVER_BAD_ID, 0xffff);
	setup_one();
	use(1, 0, 1);
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 1);
	setup_one();
	use(0, 12, 2);
	expect_fault(VDP_DRIVER_BAD_LENGTH, 12);

	/* Added, but not published: the device does not own it. */
	setup_one();
	CHECK_EQ(add(1, 0, 6), 1);
	use(1, 0, 1);
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 1);

	/* The same chain twice: the first is good, the second is not. */
	setup_one();
	CHECK_EQ(add(1, 0, 6), 1);
	vdp_packed_driver_publish(drv);
	use(0, 11, 2);
	use(0, 0, 1);
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 1);
	expect_fault(VDP_DRIVER_NOT_OUTSTANDING, 0);
}

/* Wrap-bit lies: descriptors that were not offered are no used ones, whatever their flags say. */
static void test_lies(void)
{
	struct vdp_used used[8];
	struct taken chain;

	setup(4, 0, START);
	for (int i = 0; i < 4; i++)
		dev.desc[i].flags = VDP_PACKED_AVAIL | VDP_PACKED_USED;
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 0);
	CHECK_EQ(add(1, 0, 7), 0);
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 0);
	vdp_packed_driver_publish(drv);
	CHECK(take(&chain));
	dev.desc[0].flags = 0; /* used, of the other lap */
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 0);
	use(0, 0, 1);
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 1);
	teardown();
}

/* Where the device does not say that it wrote, the length is reserved; QEMU means it all the same. */
static void test_length_without_write(uint32_t said, uint32_t taken)
{
	struct vdp_used used;

	setup_one();
	dev.desc[0].length = said;
	dev.desc[0].id = 0;
	dev.desc[0].flags = vdp_packed_used_flags(START);
	CHECK_EQ(vdp_packed_driver_pop(drv, &used, 1), 1);
	CHECK_EQ(used.len, taken);
	CHECK_EQ(used.cookie, 5);
	teardown();
}

static bool kick_after_add(void)
{
	CHECK(add(1, 0, 0) >= 0);
	vdp_packed_driver_publish(drv);
	return vdp_packed_driver_must_kick(drv);
}

static void test_kicks(void)
{
	setup(8, 0, START);
	CHECK(!vdp_packed_driver_must_kick(drv));
	CHECK(kick_after_add());
	CHECK(!vdp_packed_driver_must_kick(drv)); /* asked already */
	dev.device_event->flags = VDP_PACKED_EVENT_DISABLE;
	CHECK(!kick_after_add());
	teardown();

	/* Begins two before the end: the event lies behind the wrap. */
	setup(8, VDP_DRIVER_EVENT_IDX, 6 | VDP_PACKED_WRAP);
	dev.device_event->position = 0; /* wrap counter 0: the next lap */
	dev.device_event->flags = VDP_PACKED_EVENT_DESC;
	CHECK(!kick_after_add());
	CHECK(!kick_after_add());
	CHECK(kick_after_add());
	CHECK(!kick_after_add());
	dev.device_event->position = 3;
	CHECK(!kick_after_add());
	CHECK(add(1, 0, 0) >= 0);
	CHECK(kick_after_add()); /* passed within a batch */
	teardown();
}

static void test_calls(uint16_t flags)
{
	struct vdp_used used[8];
	struct taken chain;

	setup(8, flags, 5);
	for (int i = 0; i < 6; i++) {
		add(1, 0, 0);
		vdp_packed_driver_publish(drv);
		CHECK(take(&chain));
	}
	CHECK(vdp_packed_driver_want_calls(drv, 0));
	CHECK(use(0, 0, 1));
	CHECK(!vdp_packed_driver_want_calls(drv, 0)); /* came in between: pop first */
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 1);
	vdp_packed_driver_no_calls(drv);
	CHECK(!use(1, 0, 1));
	CHECK_EQ(vdp_packed_driver_pop(drv, used, 8), 1);
	CHECK(vdp_packed_driver_want_calls(drv, 1));
	CHECK_EQ(use(2, 0, 1), !(flags & VDP_DRIVER_EVENT_IDX));
	CHECK(use(3, 0, 1)); /* over the wrap: 5 + 3 */
	teardown();
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
	test_faulty_device();
	test_lies();
	test_length_without_write(9999, 0);
	test_length_without_write(7, 7);
	test_kicks();
	test_calls(0);
	test_calls(VDP_DRIVER_EVENT_IDX);
	return 0;
}
