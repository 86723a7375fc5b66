/* What is transmitted is written to the capture, all of it: a full ring stops the driver, a full disk does
 * not. */
#include "port.h"

static uint32_t pcap_send(
    struct vdp_nic *nic, struct vdp_pair *pair, const struct vdp_frame *frames, uint32_t n)
{
	return vdp_capture_frames(nic->conf.capture, vdp_port_index(nic, pair), VDP_CAPTURE_SENT, frames, n);
}

static bool pcap_send_pieces(struct vdp_nic *nic, struct vdp_pair *pair, uint32_t pieces, uint32_t length)
{
	(void)pieces;
	return vdp_capture_pieces(
	    nic->conf.capture, vdp_port_index(nic, pair), VDP_CAPTURE_SENT, nic->scratch->src + 1, length);
}

static uint32_t pcap_receive(struct vdp_nic *nic, struct vdp_pair *pair)
{
	(void)nic;
	(void)pair;
	return 0;
}

const struct vdp_port_ops vdp_port_pcap = {
    .poll = vdp_port_exchange,
    .inject = vdp_port_inject,
    .send = pcap_send,
    .send_pieces = pcap_send_pieces,
    .receive = pcap_receive,
    .captures = true,
};
