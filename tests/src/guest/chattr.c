/* `chattr -i FILE`: what guards a file against accidents is taken away. Debian's static busybox has none. */

#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <linux/fs.h>

int main(int argc, char **argv) {
    int flags = 0;
    int fd = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0 || ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0) {
        perror("chattr");
        return 1;
    }
    return 0;
}
