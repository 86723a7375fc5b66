/*
 * An interface of the host through AF_PACKET: received by a ring shared with the kernel, sent in bursts.
 * The socket comes set up (vfiodpa/soft/wire_packet.py): TPACKET_V2, PACKET_VNET_HDR, and the ring below.
 */
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "port.h"

#define PACKET_HDR   10u /* virtio_net_hdr, as packet sockets speak it */
#define PACKET_SLOTS (VDP_PACKET_BLOCK / VDP_PACKET_FRAME * VDP_PACKET_BLOCKS)
#define PACKET_ARENA 0x40000u
#define PACKET_MAC   12u /* bytes before a VLAN tag */
#define PACKET_TAG   4u

struct packet {
	int fd;
	uint8_t *ring;
	uint32_t next, received; /* slots: to look at next; with the driver, not yet given back */
	uint32_t stale;          /* slots before this one were filled before the interface went down */
	uint32_t used;           /* bytes of the arena */
	struct mmsghdr messages[VDP_BURST];
	struct iovec iov[VDP_BURST][2], chain[VDP_PORT_IOVS];
	uint8_t headers[VDP_BURST][PACKET_HDR];
	uint8_t arena[PACKET_ARENA]; /* frames that do not fit a slot, or with a tag that is to be put back */
};

static int packet_init(struct vdp_nic *nic)
{
	int rc = vdp_port_init_pairs(nic, sizeof(struct packet));

	for (uint32_t i = 0; i < nic->conf.pairs && rc == 0; i++) {
		struct packet *packet = nic->pairs[i].port;
		void *ring;

		packet->fd = nic->conf.port_fds[vdp_port_index(nic, nic->pairs + i)];
		ring = mmap(NULL, (size_t)VDP_PACKET_BLOCK * VDP_PACKET_BLOCKS, PROT_READ | PROT_WRITE,
		    MAP_SHARED, packet->fd, 0);
		if (ring == MAP_FAILED)
			return -errno;
		packet->ring = ring;
		rc = vdp_nic_watch(nic, packet->fd, VDP_NIC_NO_QUEUE);
	}
	return rc;
}

static void packet_fini(struct vdp_nic *nic)
{
	for (uint32_t i = 0; i < nic->conf.pairs; i++) {
		struct packet *packet = nic->pairs[i].port;

		if (packet && packet->ring)
			munmap(packet->ring, (size_t)VDP_PACKET_BLOCK * VDP_PACKET_BLOCKS);
	}
	vdp_port_fini_pairs(nic);
}

static struct tpacket2_hdr *packet_slot(const struct packet *packet, uint32_t at)
{
	return (struct tpacket2_hdr *)(packet->ring + (size_t)(at % PACKET_SLOTS) * VDP_PACKET_FRAME);
}

static bool packet_ready(const struct packet *packet, uint32_t at)
{
	return __atomic_load_n(&packet_slot(packet, at)->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* What waits in the ring came before: it says nothing about the interface any more. */
static void packet_down(struct vdp_nic *nic, struct packet *packet, int error)
{
	packet->stale = packet->next;
	while (packet->stale - packet->next < PACKET_SLOTS && packet_ready(packet, packet->stale))
		packet->stale++;
	vdp_port_trouble(nic, error);
}

/* Sending */

static void packet_header(struct vdp_nic *nic, const struct vdp_net_hdr *header, uint8_t *to)
{
	if (nic->net->headers)
		vdp_net_hdr_pack(header, to);
	else
		memset(to, 0, PACKET_HDR);
}

/* The frame at the front was refused: gone, and the reason may be news. Returns false when memory is gone. */
static bool packet_failed(struct vdp_nic *nic, struct vdp_pair *pair)
{
	if (errno == EFAULT) {
		vdp_ring_fail(&pair->tx->ring, VDP_NIC_MEMORY_GONE, 0);
		return false;
	}
	if (errno == ENETDOWN || errno == ENXIO || errno == ENODEV)
		packet_down(nic, pair->port, errno);
	vdp_port_dropped(pair->tx, 1);
	return true;
}

static uint32_t packet_send(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	struct packet *packet = pair->port;
	uint32_t i;

	for (i = 0; i < n; i++) {
		packet_header(nic, &frames[i].header, packet->headers[i]);
		packet->iov[i][0] = (struct iovec){packet->headers[i], PACKET_HDR};
		packet->iov[i][1] = (struct iovec){(void *)frames[i].data, frames[i].length};
		packet->messages[i].msg_hdr = (struct msghdr){.msg_iov = packet->iov[i], .msg_iovlen = 2};
	}
	for (i = 0; i < n;) {
		int sent = sendmmsg(packet->fd, packet->messages + i, n - i, MSG_DONTWAIT);

		if (sent > 0) {
			i += (uint32_t)sent;
			vdp_port_trouble(nic, 0);
		} else if (packet_failed(nic, pair))
			i++;
		else
			break;
	}
	return i;
}

static bool packet_send_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t pieces, uint32_t length)
{
	struct packet *packet = pair->port;
	struct msghdr message = {.msg_iov = packet->chain};

	packet_header(nic, &nic->scratch->frame, packet->headers[0]);
	if (!vdp_port_iovs(nic, packet->chain, pieces)) {
		struct vdp_piece all = {.addr = packet->arena, .length = length};

		vdp_copy_pieces(&all, nic->scratch->src + 1, length);
		packet->chain[1] = (struct iovec){packet->arena, length};
		pieces = 1;
	}
	packet->chain[0] = (struct iovec){packet->headers[0], PACKET_HDR};
	message.msg_iovlen = pieces + 1;
	if (sendmsg(packet->fd, &message, MSG_DONTWAIT) < 0)
		return packet_failed(nic, pair);
	vdp_port_trouble(nic, 0);
	return true;
}

/* Receiving */

/* A frame that was too long for its slot waits in the socket, too. */
static bool packet_read_long(struct packet *packet, struct vdp_frame *frame, uint8_t header[PACKET_HDR])
{
	struct iovec iov[2] = {{header, PACKET_HDR}, {packet->arena + packet->used, VDP_FRAME_MAX}};
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n = recvmsg(packet->fd, &message, MSG_DONTWAIT);

	if (n <= PACKET_HDR || message.msg_flags & MSG_TRUNC)
		return false;
	frame->data = packet->arena + packet->used;
	frame->length = (uint32_t)n - PACKET_HDR;
	return true;
}

/* The kernel takes the VLAN tag out; the frame had it. */
static void packet_put_tag(struct packet *packet, const struct tpacket2_hdr *slot, struct vdp_frame *frame)
{
	uint8_t *to = packet->arena + packet->used;
	uint16_t tag[2] = {htobe16(ETH_P_8021Q), htobe16(slot->tp_vlan_tci)};

	if (slot->tp_status & TP_STATUS_VLAN_TPID_VALID)
		tag[0] = htobe16(slot->tp_vlan_tpid);
	memmove(to + PACKET_MAC + PACKET_TAG, frame->data + PACKET_MAC, frame->length - PACKET_MAC);
	memmove(to, frame->data, PACKET_MAC);
	memcpy(to + PACKET_MAC, tag, PACKET_TAG);
	frame->data = to;
	frame->length += PACKET_TAG;
	if (frame->header.flags & VDP_HDR_NEEDS_CSUM)
		frame->header.csum_start += PACKET_TAG;
	if (frame->header.hdr_len)
		frame->header.hdr_len += PACKET_TAG;
}

/* The frame of a slot; false: it cannot be had. */
static bool packet_take(
    struct vdp_nic *nic, struct packet *packet, const struct tpacket2_hdr *slot, struct vdp_frame *frame)
{
	const uint8_t *data = (const uint8_t *)slot + slot->tp_mac;
	uint8_t header[PACKET_HDR];

	frame->data = data;
	frame->length = slot->tp_snaplen;
	memcpy(header, data - PACKET_HDR, PACKET_HDR);
	if (slot->tp_status & TP_STATUS_COPY) {
		if (!packet_read_long(packet, frame, header))
			return false;
	} else if (slot->tp_snaplen < slot->tp_len) {
		return false;
	}
	if (frame->length < ETH_HLEN || frame->length > VDP_FRAME_MAX - PACKET_TAG)
		return false;
	frame->header = vdp_net_hdr_unpack(header);
	if (slot->tp_status & TP_STATUS_VLAN_VALID)
		packet_put_tag(packet, slot, frame);
	if (frame->data != data)
		packet->used += (frame->length + 63) & ~63u;
	return vdp_port_finish(nic, frame);
}

static uint32_t packet_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct vdp_frame frames[VDP_BURST];
	struct packet *packet = pair->port;
	uint32_t room = vdp_port_room(nic, pair, VDP_BURST), n = 0, first = packet->next;

	packet->used = 0;
	while (n < room && packet->next - first < VDP_BURST && PACKET_ARENA - packet->used >= VDP_FRAME_MAX &&
	       packet_ready(packet, packet->next)) {
		if (packet_take(nic, packet, packet_slot(packet, packet->next), frames + n))
			n++;
		else
			vdp_port_dropped(pair->rx, 1);
		packet->next++;
	}
	if (packet->next == first)
		return 0;
	if ((int32_t)(packet->next - packet->stale) > 0)
		vdp_port_trouble(nic, 0);
	if (n > 0)
		n = vdp_port_deliver(nic, pair, frames, n);
	for (; first != packet->next; first++)
		__atomic_store_n(&packet_slot(packet, first)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	return n;
}

/* An interface that goes down says so in the socket's error; nobody else reads it. */
static bool packet_waiting(struct vdp_nic *nic, struct vdp_pair *pair)
{
	struct packet *packet = pair->port;
	socklen_t length = sizeof(int);
	int error = 0;

	if (getsockopt(packet->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error != 0)
		packet_down(nic, packet, error);
	return !pair->rx_starved && packet_ready(packet, packet->next);
}

const struct vdp_port_ops vdp_port_packet = {
    .init = packet_init,
    .fini = packet_fini,
    .poll = vdp_port_exchange,
    .steers = true,
    .inject = vdp_port_inject,
    .send = packet_send,
    .send_pieces = packet_send_pieces,
    .receive = packet_receive,
    .waiting = packet_waiting,
};
