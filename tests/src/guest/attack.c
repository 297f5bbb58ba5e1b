/* attack SUBCOMMAND ARGUMENTS…: tries one thing that an appliance must refuse even root.
 *
 * Prints `attack NAME STEP worked` or `attack NAME STEP refused ERRNO`; exit status 0 where the attack worked, 1 where
 * it was refused, 2 where it could not be tried at all (a test must never take that for a refusal). */
#include "attack.h"

#include <sys/stat.h>

static const struct {
    const char *name;
    attack run;
    int arguments;
    const char *usage;
} attacks[] = {
    {"exec", exec_file, 1, "FILE: execve in a child"},
    {"execve-check", execve_check, 1, "FILE: AT_EXECVE_CHECK"},
    {"memfd-exec", memfd_exec, 1, "FILE: copy into a memfd, execute that"},
    {"enable-verity", enable_verity, 1, "FILE: fs-verity, as `fsverity enable` does"},
    {"mmap-exec", mmap_exec, 1, "FILE: mmap(PROT_EXEC)"},
    {"mprotect-exec", mprotect_exec, 1, "FILE: mmap(PROT_READ), then mprotect(PROT_EXEC)"},
    {"private-mapping", private_mapping, 1, "FILE: change a private mapping, then mprotect(PROT_EXEC)"},
    {"anonymous-exec", anonymous_exec, 0, ": code written to anonymous memory"},
    {"ptrace-poketext", ptrace_poketext, 0, ": into the text of a child"},
    {"proc-mem", proc_mem, 1, "self|child: /proc/PID/mem into text"},
    {"finit-module", finit_module_file, 1, "FILE"},
    {"init-module", init_module_file, 1, "FILE: from memory"},
    {"firmware", firmware, 1, "NAME: through test_firmware, from the usual folders"},
    {"firmware-from-elsewhere", firmware_elsewhere, 2, "NAME FOLDER: firmware_class.path"},
    {"firmware-fallback", firmware_fallback, 1, "NAME: handed over through sysfs"},
    {"kexec-file-load", kexec_file, 1, "KERNEL"},
    {"kexec-load", kexec_pages, 0, ": a segment of memory"},
    {"write-enforce", write_enforce, 0, ": 0"},
    {"load-policy", load_policy, 1, "FILE"},
    {"update-policy", update_policy, 2, "NAME FILE"},
    {"activate-policy", activate_policy, 1, "NAME"},
    {"delete-policy", delete_policy, 1, "NAME"},
    {"core-pattern", core_pattern, 3, "OUTPUT POLICY-FILE POLICY-NAME: these as the kernel's helper"},
    {"core-helper", core_helper, 3, "(what core-pattern has the kernel run)"},
    {"dm-create", dm_create, 4, "NAME SECTORS TARGET PARAMETERS: a new device"},
    {"dm-replace", dm_replace, 4, "NAME SECTORS TARGET PARAMETERS: the table of a device that is there"},
    {"dm-version", dm_version, 1, "64|high|32|x32|other: a harmless ioctl by another way"},
    {"dm-verity", dm_verity, 4, "NAME SECTORS PARAMETERS SIGNATURE: dm-create with the file as key `forged`"},
    {"dm-through-error", dm_through_error, 3, "NAME SECTORS PARAMETERS: a live table by an error one, that by linear"},
    {"write-device", write_device, 1, "DEVICE: made writable, its first byte written as it was"},
    {"privileges", privileges, 0, ": what this process may do"},
    {"marker", marker, 0, ": what `patch` finds in a copy of this program"},
    {"patch", patch, 3, "FILE OLD NEW: the bytes of OLD, wherever they are, by those of NEW"},
};

enum verdict report(const char *name, const char *step, int failed) {
    if (failed < 0)
        printf("attack %s %s refused %s\n", name, step, strerrorname_np(errno));
    else
        printf("attack %s %s worked\n", name, step);
    fflush(stdout);
    return failed < 0 ? REFUSED : WORKED;
}

void need(const char *name, const char *step, int failed) {
    if (failed >= 0)
        return;
    printf("attack %s %s not-tried %s\n", name, step, strerrorname_np(errno));
    exit(NOT_TRIED);
}

int open_needed(const char *name, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    need(name, "open", fd);
    return fd;
}

int write_file(const char *path, const void *bytes, size_t size) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t written = write(fd, bytes, size);
    int error = errno;
    close(fd);
    errno = written < 0 ? error : EIO;
    return written == (ssize_t)size ? 0 : -1;
}

char *read_file(const char *name, const char *path, size_t *size) {
    struct stat status;
    int fd = open_needed(name, path);
    need(name, "stat", fstat(fd, &status));
    char *bytes = status.st_size <= 256 << 20 ? malloc(status.st_size + 1) : NULL;
    need(name, "size", bytes ? 0 : -1);
    size_t done = 0;
    while (done < (size_t)status.st_size) {
        ssize_t got = read(fd, bytes + done, status.st_size - done);
        need(name, "read", got <= 0 ? -1 : 0);
        done += got;
    }
    close(fd);
    *size = done;
    return bytes;
}

enum verdict marker(const char *name, int argc, char **argv) {
    (void)name, (void)argc, (void)argv;
    puts("attack marker: genuine bytes");
    return WORKED;
}

enum verdict patch(const char *name, int argc, char **argv) {
    (void)argc;
    size_t size, length = strlen(argv[1]), found = 0;
    errno = EINVAL;
    need(name, "lengths", length > 0 && length == strlen(argv[2]) ? 0 : -1);
    int fd = open(argv[0], O_RDWR | O_CLOEXEC);
    need(name, "open", fd);
    char *bytes = read_file(name, argv[0], &size);
    for (char *at = bytes; (at = memmem(at, size - (at - bytes), argv[1], length)); at += length, found++)
        need(name, "write", pwrite(fd, argv[2], length, at - bytes) == (ssize_t)length ? 0 : -1);
    printf("attack %s places %zu\n", name, found);
    errno = ENOENT;
    return report(name, "patch", found ? 0 : -1);
}

int main(int argc, char **argv) {
    size_t count = sizeof attacks / sizeof *attacks;
    for (size_t i = 0; argc > 1 && i < count; i++)
        if (!strcmp(argv[1], attacks[i].name) && argc - 2 == attacks[i].arguments)
            return attacks[i].run(argv[1], argc - 2, argv + 2);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "attack %s %s\n", attacks[i].name, attacks[i].usage);
    return NOT_TRIED;
}
