/* The places in which the files lie when the kernel is asked. */
#include "decide.h"

#include <linux/fsverity.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SIGNED_DISK "/dev/vdb"
#define STATE_DISK "/dev/vdd"

const char *const file_names[FILES] = {"program",      "script", "module.ko", "module.ko.xz",
                                       "firmware.bin", "kernel", "ima-policy"};
struct place places[] = {
    {.name = "initramfs", .folder = SOURCE},
    {.name = "signed", .folder = "/signed"},
    {.name = "unsigned", .folder = "/unsigned"},
    {.name = "tmpfs", .folder = "/tmp"},
    {.name = "state", .folder = "/state/plain"},
    {.name = "verity-sha256", .folder = "/state/sha256"},
    {.name = "verity-sha512", .folder = "/state/sha512"},
    {.name = "verity-signed", .folder = "/state/signed"},
    {.name = "overlay-signed", .folder = "/overlay-signed"},
    {.name = "overlay-copied", .folder = "/overlay-copied"},
    {.name = "overlay-verity", .folder = "/overlay-verity"},
    {.name = "overlay-initramfs", .folder = "/overlay-initramfs"},
    {.name = "bind-signed", .folder = "/bind-signed"},
    {.name = "bind-initramfs", .folder = "/bind-initramfs"},
    {.name = "loop", .folder = "/loop"},
    {.name = "linear", .folder = "/linear"},
    {.name = "image-file", .folder = "/image-file"},
    {.name = "memfd"},
};
const size_t place_count = sizeof places / sizeof *places;

const char *path_of(const struct place *place, enum file file) {
    static char path[100];
    if (place->folder)
        snprintf(path, sizeof path, "%s/%s", place->folder, file_names[file]);
    else
        snprintf(path, sizeof path, "/proc/self/fd/%d", place->descriptors[file]);
    return path;
}

static void fill(const char *folder) {
    char from[100], to[100];
    mkdir(folder, 0755);
    for (int file = 0; file < FILES; file++) {
        snprintf(from, sizeof from, SOURCE "/%s", file_names[file]);
        snprintf(to, sizeof to, "%s/%s", folder, file_names[file]);
        copy(from, to);
    }
}

/* Turns fs-verity on for the files of a folder. Signatures lie in a folder under the files' names. */
static void protect_files(const char *folder, unsigned algorithm, const char *signatures) {
    char path[100];
    for (int file = 0; file < FILES; file++) {
        struct fsverity_enable_arg argument = {.version = 1, .hash_algorithm = algorithm, .block_size = 4096};
        if (signatures) {
            size_t size;
            snprintf(path, sizeof path, "%s/%s", signatures, file_names[file]);
            argument.sig_ptr = (uintptr_t)read_whole(path, &size);
            argument.sig_size = size;
        }
        snprintf(path, sizeof path, "%s/%s", folder, file_names[file]);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        need(path, fd);
        need("enable fs-verity", ioctl(fd, FS_IOC_ENABLE_VERITY, &argument));
        close(fd);
    }
}

/* The kernel's keyring of that name: no call gives it, /proc/keys lists it. */
static int keyring(const char *name) {
    char line[300], wanted[100];
    snprintf(wanted, sizeof wanted, " keyring   %s: ", name);
    FILE *keys = fopen("/proc/keys", "re");
    need("/proc/keys", keys ? 0 : -1);
    while (fgets(line, sizeof line, keys))
        if (strstr(line, wanted)) {
            fclose(keys);
            return (int)strtoul(line, NULL, 16);
        }
    errno = ENOKEY;
    need(name, -1);
    return 0;
}

static void make_state(void) {
    size_t size;
    char *certificate = read_whole("/certificate.der", &size);
    need("certificate", syscall(SYS_add_key, "asymmetric", "", certificate, size, keyring(".fs-verity")));
    mounted(STATE_DISK, "/state", "ext4", 0, "");
    fill("/state/plain");
    fill("/state/sha256");
    protect_files("/state/sha256", FS_VERITY_HASH_ALG_SHA256, NULL);
    fill("/state/sha512");
    protect_files("/state/sha512", FS_VERITY_HASH_ALG_SHA512, NULL);
    fill("/state/signed");
    protect_files("/state/signed", FS_VERITY_HASH_ALG_SHA256, "/signatures");
}

static void make_verity(void) {
    give_signature("signed", "/verity/signature");
    map_device("signed", "/verity/signed");
    map_device("unsigned", "/verity/unsigned");
    mounted("/dev/dm-0", "/signed", "erofs", MS_RDONLY, "");
    mounted("/dev/dm-1", "/unsigned", "erofs", MS_RDONLY, "");
    /* The same bytes by ways on which the kernel does not see whose they are. A mounted device takes no other on top. */
    map_device("below", "/verity/signed");
    map_device("linear", "/verity/linear");
    mounted("/dev/dm-3", "/linear", "erofs", MS_RDONLY, "");
    int loop = open("/dev/loop0", O_RDWR | O_CLOEXEC), disk = open(SIGNED_DISK, O_RDONLY | O_CLOEXEC);
    need("loop device", loop < 0 || disk < 0 ? -1 : 0);
    struct loop_config config = {.fd = disk, .info.lo_flags = LO_FLAGS_READ_ONLY};
    need("loop device", ioctl(loop, LOOP_CONFIGURE, &config));
    mounted("/dev/loop0", "/loop", "erofs", MS_RDONLY, "");
    /* Not from a tmpfs: EROFS reads its image through the page cache of a file system that has one. */
    copy("/image.erofs", "/state/image.erofs");
    mounted("/state/image.erofs", "/image-file", "erofs", MS_RDONLY, "");
}

static void make_overlays(void) {
    mkdir("/empty", 0755);
    mounted("overlay", "/overlay-signed", "overlay", MS_RDONLY, "lowerdir=/signed:/empty");
    mounted("overlay", "/overlay-verity", "overlay", MS_RDONLY, "lowerdir=/state/signed:/empty");
    mounted("overlay", "/overlay-initramfs", "overlay", MS_RDONLY, "lowerdir=" SOURCE ":/empty");
    mounted("tmpfs", "/upper", "tmpfs", 0, "");
    mkdir("/upper/data", 0755);
    mkdir("/upper/work", 0755);
    mounted("overlay", "/overlay-copied", "overlay", 0,
            "lowerdir=/signed,upperdir=/upper/data,workdir=/upper/work");
    for (int file = 0; file < FILES; file++) {
        char path[100];
        snprintf(path, sizeof path, "/overlay-copied/%s", file_names[file]);
        int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
        need(path, fd);
        close(fd);
    }
}

/* Files that have no name. Each is open for reading alone: one that somebody could write to would be refused for that. */
static void make_memfd(struct place *place) {
    for (int file = 0; file < FILES; file++) {
        char path[100];
        size_t size;
        snprintf(path, sizeof path, SOURCE "/%s", file_names[file]);
        char *bytes = read_whole(path, &size);
        int fd = memfd_create(file_names[file], MFD_CLOEXEC);
        need("memfd", fd);
        need("memfd", write(fd, bytes, size) == (ssize_t)size ? 0 : -1);
        need("memfd", fchmod(fd, 0755));
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        place->descriptors[file] = open(path, O_RDONLY);
        need("memfd", place->descriptors[file]);
        close(fd);
        free(bytes);
    }
}

void make_places(void) {
    mounted("tmpfs", "/tmp", "tmpfs", 0, "");
    fill("/tmp");
    make_state();
    make_verity();
    make_overlays();
    mounted("/signed", "/bind-signed", "", MS_BIND, "");
    mounted(SOURCE, "/bind-initramfs", "", MS_BIND, "");
    make_memfd(&places[place_count - 1]);
}
