/* Device-mapper by its own ioctls: a device that claims a root hash it does not check, and a table put under a mounted
 * root. */
#include "attack.h"

#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define CONTROL "/dev/mapper/control"
#define CONTROL_MINOR 236

struct request {
    struct dm_ioctl header;
    struct dm_target_spec target;
    char parameters[2048];
};

static int control(const char *name) {
    mkdir("/dev/mapper", 0755);
    mknod(CONTROL, S_IFCHR | 0600, makedev(10, CONTROL_MINOR));
    int fd = open(CONTROL, O_RDWR | O_CLOEXEC);
    need(name, "control", fd);
    return fd;
}

static void prepare(struct request *request, const char *device, uint32_t flags) {
    memset(request, 0, sizeof *request);
    request->header.version[0] = DM_VERSION_MAJOR;
    request->header.data_size = sizeof *request;
    request->header.data_start = offsetof(struct request, target);
    request->header.flags = flags;
    snprintf(request->header.name, sizeof request->header.name, "%s", device);
}

/* Loads a table of one target and makes it live. */
static enum verdict load(const char *name, int fd, char **argv) {
    static struct request request;
    prepare(&request, argv[0], DM_READONLY_FLAG);
    request.header.target_count = 1;
    request.target.length = strtoull(argv[1], NULL, 10);
    request.target.next = sizeof request - offsetof(struct request, target);
    snprintf(request.target.target_type, sizeof request.target.target_type, "%s", argv[2]);
    snprintf(request.parameters, sizeof request.parameters, "%s", argv[3]);
    if (report(name, "table-load", ioctl(fd, DM_TABLE_LOAD, &request)) == REFUSED)
        return REFUSED;
    prepare(&request, argv[0], 0);
    return report(name, "resume", ioctl(fd, DM_DEV_SUSPEND, &request));
}

enum verdict dm_create(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = control(name);
    static struct request request;
    prepare(&request, argv[0], 0);
    if (report(name, "create", ioctl(fd, DM_DEV_CREATE, &request)) == REFUSED)
        return REFUSED;
    printf("attack %s device %u:%u\n", name, major(request.header.dev), minor(request.header.dev));
    return load(name, fd, argv);
}

enum verdict dm_replace(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = control(name);
    static struct request request;
    prepare(&request, argv[0], DM_SUSPEND_FLAG);
    if (report(name, "suspend", ioctl(fd, DM_DEV_SUSPEND, &request)) == REFUSED)
        return REFUSED;
    return load(name, fd, argv);
}

enum verdict dm_version(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = control(name);
    /* Below 4 GiB, for the pointer of a 32-bit call. */
    struct request *request =
        mmap(NULL, sizeof *request, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    need(name, "mmap", request == MAP_FAILED ? -1 : 0);
    prepare(request, "", 0);
    long result;
    if (!strcmp(argv[0], "64"))
        __asm__ volatile("syscall" : "=a"(result) : "a"(16L), "D"((long)fd), "S"((long)DM_VERSION), "d"(request)
                         : "rcx", "r11", "memory");
    else if (!strcmp(argv[0], "x32"))
        __asm__ volatile("syscall" : "=a"(result) : "a"(0x40000000L | 514), "D"((long)fd), "S"((long)DM_VERSION), "d"(request)
                         : "rcx", "r11", "memory");
    else
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(54L), "b"((long)fd), "c"((long)DM_VERSION), "d"(request)
                         : "r8", "r9", "r10", "r11", "memory");
    errno = result < 0 ? (int)-result : 0;
    return report(name, argv[0], result < 0 ? -1 : 0);
}
