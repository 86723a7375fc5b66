/* The driver's half of a packed ring against a device that lies. */
#include "packed_echo.h"

static struct packed dev;

static void setup_one(void)
{
	packed_setup(&dev, 8, 0, START);
	CHECK_EQ(packed_add(&dev, 1, 1, 5), 0);
	vdp_packed_driver_publish(dev.drv);
}

static void test_faulty_device(void)
{
	struct vdp_used used[8];

	setup_one();
	packed_use(&dev, 8, 0, 1);
	packed_expect_fault(&dev, VDP_DRIVER_BAD_ID, 8);
	setup_one();
	packed_use(&dev, 0xffff, 0, 1);
	packed_expect_fault(&dev, VDP_DRIVER_BAD_ID, 0xffff);
	setup_one();
	packed_use(&dev, 1, 0, 1);
	packed_expect_fault(&dev, VDP_DRIVER_NOT_OUTSTANDING, 1);
	setup_one();
	packed_use(&dev, 0, 12, 2);
	packed_expect_fault(&dev, VDP_DRIVER_BAD_LENGTH, 12);

	/* Added, but not published: the device does not own it. */
	setup_one();
	CHECK_EQ(packed_add(&dev, 1, 0, 6), 1);
	packed_use(&dev, 1, 0, 1);
	packed_expect_fault(&dev, VDP_DRIVER_NOT_OUTSTANDING, 1);

	/* The same chain twice: the first is good, the second is not. */
	setup_one();
	CHECK_EQ(packed_add(&dev, 1, 0, 6), 1);
	vdp_packed_driver_publish(dev.drv);
	packed_use(&dev, 0, 11, 2);
	packed_use(&dev, 0, 0, 1);
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 1);
	packed_expect_fault(&dev, VDP_DRIVER_NOT_OUTSTANDING, 0);
}

/* Wrap-bit lies: descriptors that were not offered are no used ones, whatever their flags say. */
static void test_lies(void)
{
	struct vdp_used used[8];
	struct taken chain;

	packed_setup(&dev, 4, 0, START);
	for (int i = 0; i < 4; i++)
		dev.desc[i].flags = VDP_PACKED_AVAIL | VDP_PACKED_USED;
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 0);
	CHECK_EQ(packed_add(&dev, 1, 0, 7), 0);
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 0);
	vdp_packed_driver_publish(dev.drv);
	CHECK(packed_take(&dev, &chain));
	dev.desc[0].flags = 0; /* used, of the other lap */
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 0);
	packed_use(&dev, 0, 0, 1);
	CHECK_EQ(vdp_packed_driver_pop(dev.drv, used, 8), 1);
	packed_teardown(&dev);
}

int main(void)
{
	test_faulty_device();
	test_lies();
	return 0;
}
