/* Notifications of the software NIC: kick and call eventfds, and the doorbell. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#include "nic_impl.h"

int vdp_nic_set_kick(struct vdp_nic *nic, uint32_t index, int fd)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);
	int rc;

	if (!queue)
		return -EINVAL;
	if (queue->kick_fd >= 0) {
		vdp_nic_unwatch(nic, queue->kick_fd);
		close(queue->kick_fd);
		queue->kick_fd = -1;
	}
	if (fd < 0)
		return 0;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	rc = vdp_nic_watch(nic, fd, index);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	queue->kick_fd = fd;
	return 0;
}

void vdp_nic_set_call(struct vdp_nic *nic, uint32_t index, int fd)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);

	if (queue)
		queue->call_fd = fd;
}

void vdp_nic_set_config_call(struct vdp_nic *nic, int fd)
{
	nic->config_call_fd = fd;
}

bool vdp_nic_take_unheard(struct vdp_nic *nic)
{
	bool found = false;

	for (uint32_t i = 0; i < vdp_nic_queues(nic); i++)
		found |= __atomic_exchange_n(&nic->queues[i].unheard, false, __ATOMIC_ACQUIRE);
	return found;
}

int vdp_nic_doorbell_fd(struct vdp_nic *nic, uint32_t index)
{
	struct vdp_queue *queue = vdp_nic_queue(nic, index);
	int fd, rc;

	if (!queue)
		return -EINVAL;
	pthread_mutex_lock(&nic->lock);
	fd = queue->doorbell_fd;
	if (fd < 0) {
		fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		rc = fd < 0 ? -errno : vdp_nic_watch(nic, fd, index);
		if (rc < 0 && fd >= 0)
			close(fd);
		if (rc < 0)
			fd = rc;
		else
			queue->doorbell_fd = fd;
	}
	pthread_mutex_unlock(&nic->lock);
	return fd;
}

int vdp_nic_kick(struct vdp_nic *nic, uint32_t index)
{
	int fd = vdp_nic_doorbell_fd(nic, index);
	uint64_t one = 1;

	if (fd < 0)
		return fd;
	/* EAGAIN after 2^64 kicks; the worker is awake by then. */
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}
