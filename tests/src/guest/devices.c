/* Devices and mounts. */
#include "decide.h"

#include <linux/dm-ioctl.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

void mounted(const char *what, const char *folder, const char *type, unsigned long flags, const char *options) {
    mkdir(folder, 0755);
    need(folder, mount(what, folder, type, flags, options));
}

void copy(const char *from, const char *to) {
    size_t size;
    char *bytes = read_whole(from, &size);
    int fd = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    need(to, fd);
    close(fd);
    write_whole(to, bytes, size);
    free(bytes);
}

void give_signature(const char *description, const char *file) {
    const int process_keyring = -2; /* KEY_SPEC_PROCESS_KEYRING */
    size_t size;
    char *signature = read_whole(file, &size);
    need("root hash signature", syscall(SYS_add_key, "user", description, signature, size, process_keyring));
}

struct request {
    struct dm_ioctl header;
    struct dm_target_spec target;
    char parameters[2048];
};

static void control(unsigned long command, const char *device, struct request *request, const char *what) {
    static int fd = -1;
    if (fd < 0)
        fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
    need("/dev/mapper/control", fd);
    request->header.version[0] = DM_VERSION_MAJOR;
    request->header.data_size = sizeof *request;
    request->header.data_start = offsetof(struct request, target);
    snprintf(request->header.name, sizeof request->header.name, "%s", device);
    need(what, ioctl(fd, command, request));
}

void map_device(const char *device, const char *table) {
    size_t size;
    const char *line = read_whole(table, &size);
    struct request create = {0}, load = {0}, resume = {0};
    control(DM_DEV_CREATE, device, &create, "dm create");
    int rest = 0;
    unsigned long long start, length;
    int words = sscanf(line, "%llu %llu %15s %n", &start, &length, load.target.target_type, &rest);
    errno = EINVAL;
    need("dm table", words == 3 ? 0 : -1);
    load.target.sector_start = start;
    load.target.length = length;
    load.target.next = sizeof load - offsetof(struct request, target);
    snprintf(load.parameters, sizeof load.parameters, "%s", line + rest);
    load.header.flags = DM_READONLY_FLAG;
    load.header.target_count = 1;
    control(DM_TABLE_LOAD, device, &load, "dm load");
    control(DM_DEV_SUSPEND, device, &resume, "dm resume");
}
