/*
 * Runs inside the Linux guest: sends frames on a raw packet socket and checks what comes back.
 *
 * Usage: probe INTERFACE COUNT SIZE. Prints one line of JSON; exit status 0 when all frames came back intact.
 * Each frame carries a sequence number and bytes derived from it, so that loss, duplicates, reordering and
 * corruption are told apart. At most WINDOW frames are under way: an echo needs no luck with ring sizes.
 */
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ETHERTYPE  0x88b5 /* IEEE 802: for local experiments */
#define WINDOW     32
#define SILENCE_MS 3000
#define MAX_SIZE   2048

struct probe {
	int fd;
	unsigned char mac[ETH_ALEN];
	uint32_t count, size;
	uint32_t sent, back, corrupt, duplicate, reordered, next;
	bool *seen;
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void fill(const struct probe *p, uint32_t seq, unsigned char *frame)
{
	memset(frame, 0xff, ETH_ALEN);
	memcpy(frame + 6, p->mac, ETH_ALEN);
	frame[12] = ETHERTYPE >> 8;
	frame[13] = ETHERTYPE & 0xff;
	memcpy(frame + 14, &seq, sizeof(seq));
	for (uint32_t i = 18; i < p->size; i++)
		frame[i] = (unsigned char)(seq * 31 + i);
}

static void attach(struct probe *p, const char *name)
{
	struct ifreq ifr = {0};
	struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE)};

	p->fd = socket(AF_PACKET, SOCK_RAW, htons(ETHERTYPE));
	if (p->fd < 0)
		die("socket");
	strncpy(ifr.ifr_name, name, IFNAMSIZ - 1);
	if (ioctl(p->fd, SIOCGIFHWADDR, &ifr))
		die("SIOCGIFHWADDR");
	memcpy(p->mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	at.sll_ifindex = (int)if_nametoindex(name);
	if (bind(p->fd, (struct sockaddr *)&at, sizeof(at)))
		die("bind");
}

static void check(struct probe *p, const unsigned char *frame, size_t length)
{
	unsigned char want[MAX_SIZE];
	uint32_t seq;

	if (length != p->size) {
		p->corrupt++;
		return;
	}
	memcpy(&seq, frame + 14, sizeof(seq));
	if (seq < p->count)
		fill(p, seq, want);
	if (seq >= p->count || memcmp(want, frame, length)) {
		p->corrupt++;
		return;
	}
	if (p->seen[seq]) {
		p->duplicate++;
		return;
	}
	p->seen[seq] = true;
	p->reordered += seq != p->next;
	p->next = seq + 1;
	p->back++;
}

/* False when nothing came for SILENCE_MS. */
static bool take_one(struct probe *p)
{
	struct pollfd ready = {.fd = p->fd, .events = POLLIN};
	struct sockaddr_ll from;
	socklen_t from_size = sizeof(from);
	unsigned char frame[MAX_SIZE + 64];

	if (poll(&ready, 1, SILENCE_MS) != 1)
		return false;
	ssize_t got = recvfrom(p->fd, frame, sizeof(frame), 0, (struct sockaddr *)&from, &from_size);
	if (got < 0)
		die("recvfrom");
	if (from.sll_pkttype != PACKET_OUTGOING)
		check(p, frame, (size_t)got);
	return true;
}

static void run(struct probe *p)
{
	unsigned char frame[MAX_SIZE];

	for (;;) {
		uint32_t answered = p->back + p->corrupt;

		if (p->sent < p->count && p->sent < answered + WINDOW) {
			fill(p, p->sent, frame);
			if (send(p->fd, frame, p->size, 0) != (ssize_t)p->size)
				die("send");
			p->sent++;
		} else if (answered >= p->count || !take_one(p)) {
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct probe p = {0};

	if (argc != 4)
		return 2;
	p.count = (uint32_t)strtoul(argv[2], NULL, 0);
	p.size = (uint32_t)strtoul(argv[3], NULL, 0);
	if (p.size < 60 || p.size > MAX_SIZE)
		return 2;
	p.seen = calloc(p.count + 1u, sizeof(*p.seen));
	if (!p.seen)
		die("calloc");
	attach(&p, argv[1]);
	run(&p);
	printf("{\"sent\": %u, \"back\": %u, \"corrupt\": %u, \"duplicate\": %u, \"reordered\": %u}\n",
	    p.sent, p.back, p.corrupt, p.duplicate, p.reordered);
	free(p.seen);
	return p.back == p.count && !p.corrupt && !p.duplicate ? 0 : 1;
}
