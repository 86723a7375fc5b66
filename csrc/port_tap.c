/* A tap interface: what the driver sends, the host's network receives, and the other way round. */
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "port.h"

#define TAP_ARENA  0x40000u /* bytes of frames that are read before the driver gets them */
#define TAP_F(bit) (1ull << (bit))

struct tap {
	int fd;
	bool gone;
	uint8_t header[VDP_NET_HDR];
	struct iovec iov[VDP_PORT_IOVS];
	uint8_t arena[TAP_ARENA];
};

static int tap_init(struct vdp_nic *nic)
{
	int rc = vdp_port_init_pairs(nic, sizeof(struct tap));

	for (uint32_t i = 0; i < nic->conf.pairs && rc == 0; i++) {
		struct tap *tap = nic->pairs[i].port;

		tap->fd = nic->conf.port_fds[vdp_port_index(nic, nic->pairs + i)];
		rc = vdp_nic_watch(nic, tap->fd, VDP_NIC_NO_QUEUE);
	}
	return rc;
}

/* What the driver takes may come unfinished from the kernel. Ref: Documentation/networking/tuntap.rst */
static void tap_negotiated(struct vdp_nic *nic)
{
	static const struct {
		uint64_t feature;
		uint32_t tun;
	} offloads[] = {
	    {TAP_F(1), TUN_F_CSUM},
	    {TAP_F(7), TUN_F_TSO4},
	    {TAP_F(8), TUN_F_TSO6},
	    {TAP_F(9), TUN_F_TSO_ECN},
	    {TAP_F(10), TUN_F_UFO},
	};
	unsigned long wanted = 0;

	for (size_t i = 0; i < sizeof(offloads) / sizeof(offloads[0]); i++)
		wanted |= nic->guest_offloads & offloads[i].feature ? offloads[i].tun : 0;
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		struct tap *tap = nic->pairs[i].port;

		/* None is always possible, and what is refused is never sent to us then. */
		if (ioctl(tap->fd, TUNSETOFFLOAD, wanted) < 0)
			ioctl(tap->fd, TUNSETOFFLOAD, 0ul);
	}
}

/* A read or write failed: is that the end of the interface? */
static void tap_failed(struct vdp_nic *nic, struct tap *tap, struct vdp_queue *tx)
{
	if (errno == EBADFD || errno == ENODEV) {
		tap->gone = true;
		vdp_port_trouble(nic, ENODEV);
	} else if (errno == EFAULT && tx) {
		vdp_ring_fail(&tx->ring, VDP_NIC_MEMORY_GONE, 0);
	}
}

static bool tap_write(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t iovs)
{
	struct tap *tap = pair->port;

	tap->iov[0] = (struct iovec){tap->header, VDP_NET_HDR};
	if (!tap->gone && writev(tap->fd, tap->iov, (int)iovs) >= 0)
		return true;
	/* A queue that is full, an interface that is down, a header that the kernel does not like. */
	vdp_port_dropped(pair->tx, 1);
	if (!tap->gone)
		tap_failed(nic, tap, pair->tx);
	return nic->error.code == VDP_NIC_OK;
}

static void tap_header(struct vdp_nic *nic, struct tap *tap, const struct vdp_net_hdr *header)
{
	if (nic->net->headers)
		vdp_net_hdr_pack(header, tap->header); /* the number of buffers behind it stays 0 */
	else
		memset(tap->header, 0, VDP_NET_HDR);
}

static uint32_t tap_send(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	struct tap *tap = pair->port;
	uint32_t i;

	for (i = 0; i < n; i++) {
		tap_header(nic, tap, &frames[i].header);
		tap->iov[1] = (struct iovec){(void *)frames[i].data, frames[i].length};
		if (!tap_write(nic, pair, 2))
			break;
	}
	return i;
}

static bool tap_send_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t pieces, uint32_t length)
{
	struct tap *tap = pair->port;

	tap_header(nic, tap, &nic->scratch->frame);
	if (!vdp_port_iovs(nic, tap->iov, pieces)) {
		struct vdp_piece all = {.addr = tap->arena, .length = length};

		vdp_copy_pieces(&all, nic->scratch->src + 1, length);
		tap->iov[1] = (struct iovec){tap->arena, length};
		pieces = 1;
	}
	return tap_write(nic, pair, pieces + 1);
}

/* The next frame of the interface to the arena; its length, 0 when there is none. */
static uint32_t tap_read(struct vdp_nic *nic, struct tap *tap, uint8_t *to, struct vdp_net_hdr *header)
{
	uint8_t raw[VDP_NET_HDR];
	struct iovec iov[2] = {{raw, sizeof(raw)}, {to, VDP_FRAME_MAX}};
	ssize_t n;

	do
		n = readv(tap->fd, iov, 2);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		tap_failed(nic, tap, NULL);
	if (n <= VDP_NET_HDR)
		return 0;
	*header = vdp_net_hdr_unpack(raw);
	return (uint32_t)n - VDP_NET_HDR;
}

static uint32_t tap_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_frame frames[VDP_BURST];
	struct tap *tap = pair->port;
	uint32_t room, used = 0, n = 0;

	if (tap->gone)
		return 0;
	room = vdp_port_room(nic, pair, VDP_BURST);
	while (n < room && TAP_ARENA - used >= VDP_FRAME_MAX) {
		frames[n] = (struct vdp_frame){.data = tap->arena + used};
		frames[n].length = tap_read(nic, tap, tap->arena + used, &frames[n].header);
		if (frames[n].length == 0)
			break;
		used += (frames[n].length + 63) & ~63u;
		if (vdp_port_finish(nic, frames + n))
			n++;
		else
			vdp_port_dropped(pair->rx, 1);
	}
	return n ? vdp_port_deliver(nic, pair, frames, n) : 0;
}

const struct vdp_port_ops vdp_port_tap = {
    .init = tap_init,
    .fini = vdp_port_fini_pairs,
    .poll = vdp_port_exchange,
    .inject = vdp_port_inject,
    .send = tap_send,
    .send_pieces = tap_send_pieces,
    .receive = tap_receive,
    .negotiated = tap_negotiated,
};
