/* Device-mapper by its own ioctls: a device that claims a root hash it does not check, and a table put under a mounted
 * root. */
#include "attack.h"

#include <linux/dm-ioctl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
static enum verdict load(const char *name, int fd, const char *device, const char *sectors, const char *type,
                         const char *parameters) {
    static struct request request;
    prepare(&request, device, DM_READONLY_FLAG);
    request.header.target_count = 1;
    request.target.length = strtoull(sectors, NULL, 10);
    request.target.next = sizeof request - offsetof(struct request, target);
    snprintf(request.target.target_type, sizeof request.target.target_type, "%s", type);
    snprintf(request.parameters, sizeof request.parameters, "%s", parameters);
    if (report(name, "table-load", ioctl(fd, DM_TABLE_LOAD, &request)) == REFUSED)
        return REFUSED;
    prepare(&request, device, 0);
    return report(name, "resume", ioctl(fd, DM_DEV_SUSPEND, &request));
}

static enum verdict create(const char *name, int fd, char **argv, const char *type, const char *parameters) {
    static struct request request;
    prepare(&request, argv[0], 0);
    if (report(name, "create", ioctl(fd, DM_DEV_CREATE, &request)) == REFUSED)
        return REFUSED;
    printf("attack %s device %u:%u\n", name, major(request.header.dev), minor(request.header.dev));
    return load(name, fd, argv[0], argv[1], type, parameters);
}

static enum verdict replace(const char *name, int fd, char **argv, const char *type, const char *parameters) {
    static struct request request;
    prepare(&request, argv[0], DM_SUSPEND_FLAG);
    if (report(name, "suspend", ioctl(fd, DM_DEV_SUSPEND, &request)) == REFUSED)
        return REFUSED;
    return load(name, fd, argv[0], argv[1], type, parameters);
}

enum verdict dm_create(const char *name, int argc, char **argv) {
    (void)argc;
    return create(name, control(name), argv, argv[2], argv[3]);
}

/* The key is there for this process alone, which is who must hold it when the table is loaded. */
enum verdict dm_verity(const char *name, int argc, char **argv) {
    (void)argc;
    size_t size;
    char *signature = read_file(name, argv[3], &size);
    const int process_keyring = -2; /* KEY_SPEC_PROCESS_KEYRING */
    need(name, "key", syscall(SYS_add_key, "user", "forged", signature, size, process_keyring));
    return create(name, control(name), argv, "verity", argv[2]);
}

enum verdict dm_replace(const char *name, int argc, char **argv) {
    (void)argc;
    return replace(name, control(name), argv, argv[2], argv[3]);
}

/* The kernel lets only an error table take the place of a verity one, and anything that of an error one. In between
 * nothing can be read, this program neither. */
enum verdict dm_through_error(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = control(name);
    need(name, "mlockall", mlockall(MCL_CURRENT));
    if (replace(name, fd, argv, "error", "") == REFUSED)
        return REFUSED;
    return replace(name, fd, argv, "linear", argv[2]);
}

enum verdict write_device(const char *name, int argc, char **argv) {
    (void)argc;
    char byte;
    int reading = open_needed(name, argv[0]), writable = 0;
    need(name, "read", pread(reading, &byte, 1, 0) == 1 ? 0 : -1);
    report(name, "set-writable", ioctl(reading, BLKROSET, &writable));
    int fd = open(argv[0], O_RDWR | O_CLOEXEC);
    if (report(name, "open", fd) == REFUSED)
        return REFUSED;
    return report(name, "write", pwrite(fd, &byte, 1, 0) == 1 ? 0 : -1);
}

/* An ioctl by one way into the kernel; a negated error number, as the kernel answers. */
static long ioctl_by(const char *way, long fd, long command, void *argument) {
    long result;
#ifdef __x86_64__
    if (!strcmp(way, "x32"))
        __asm__ volatile("syscall" : "=a"(result) : "a"(0x40000000L | 514), "D"(fd), "S"(command), "d"(argument)
                         : "rcx", "r11", "memory");
    else if (!strcmp(way, "32"))
        __asm__ volatile("int $0x80" : "=a"(result) : "a"(54L), "b"(fd), "c"(command), "d"(argument)
                         : "r8", "r9", "r10", "r11", "memory");
    else
        __asm__ volatile("syscall" : "=a"(result) : "a"(16L), "D"(fd), "S"(command), "d"(argument)
                         : "rcx", "r11", "memory");
#else
    /* Only a 32-bit program gets in the 32-bit way: `attack32`. */
    (void)way;
    register long number __asm__("x8") = 29, first __asm__("x0") = fd, second __asm__("x1") = command;
    register void *third __asm__("x2") = argument;
    __asm__ volatile("svc 0" : "+r"(first) : "r"(number), "r"(second), "r"(third) : "memory");
    result = first;
#endif
    return result;
}

enum verdict dm_version(const char *name, int argc, char **argv) {
    (void)argc;
    int fd = control(name);
#ifdef __x86_64__
    /* Below 4 GiB, for the pointer of a 32-bit call. */
    struct request *request =
        mmap(NULL, sizeof *request, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    need(name, "mmap", request == MAP_FAILED ? -1 : 0);
#else
    static struct request room, *request = &room;
#endif
    prepare(request, "", 0);
    /* The kernel looks at the lower half of the command alone. `other` is none of the device-mapper's. */
    long command = !strcmp(argv[0], "other") ? 0x5401L : (long)DM_VERSION;
    if (!strcmp(argv[0], "high"))
        command |= 0x5a5a5a5aL << 32;
    long result = ioctl_by(argv[0], fd, command, request);
    errno = result < 0 ? (int)-result : 0;
    return report(name, argv[0], result < 0 ? -1 : 0);
}
