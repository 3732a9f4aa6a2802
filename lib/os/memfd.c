#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include <brood/base.h>

#include "os/memfd.h"
#include "os/process_attributes.h"

/* Newer than some headers. */
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u /* Linux 6.3 */
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif

int brood__memfd_open(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return fd < 0 ? -errno : brood__fd_not_standard(fd);
}

/* Where files cannot be made without a name: with a name that cannot be guessed, and that is removed at once. */
static int file_open_named(void)
{
    char name[32];
    uint64_t number;
    int fd;

    if (getrandom(&number, sizeof(number), GRND_NONBLOCK) != sizeof(number))
        return -EAGAIN;
    (void)snprintf(name, sizeof(name), "/brood-%016llx", (unsigned long long)number);
    fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    (void)shm_unlink(name);
    return fd;
}

/* Makes what shm_open() makes, but without a name from the start: a process that is killed between shm_open() and
 * shm_unlink() leaves a file. */
static int file_open_shm(void)
{
    int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);

    return fd >= 0 ? fd : file_open_named();
}

int brood__memory_file_open(const char *name)
{
    int fd = brood__memfd_open(name);

    if (fd < 0)
        fd = brood__fd_not_standard(file_open_shm());
    return fd < 0 ? brood_fail(fd, "no shared memory: memfd_create and a file of /dev/shm failed: %s", strerror(-fd)) : fd;
}

int brood__memfd_seal(int fd, enum memfd_seal seal)
{
    int seals = F_SEAL_SHRINK | F_SEAL_SEAL;

    if (seal == MEMFD_FIXED)
        seals |= F_SEAL_GROW;
    if (seal == MEMFD_GROWS_BY_MAPPING && fcntl(fd, F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE) == 0)
        return 0;
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}
