/* What a process in a workload is and may do: one fact a line, `name = value`. Nothing that it tries changes the host where it succeeds. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const STATUS[] = {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters", "SigBlk", "SigIgn", NULL};
static const char *const NAMESPACES[] = {"mnt", "pid", "net", "ipc", "uts", "cgroup", "user", NULL};
static const char *const MASKED[] = {
    "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats", "/proc/timer_stats", "/proc/sched_debug",
    "/proc/acpi", "/proc/asound", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap", "/sys/kernel/debug",
    "/sys/kernel/security", "/sys/kernel/tracing", "/sys/fs/bpf", NULL};
static const char *const READ_ONLY[] = {
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/drop_caches", "/proc/sys/fs/binfmt_misc/register",
    "/proc/sysrq-trigger", "/proc/irq/default_smp_affinity", "/proc/bus", "/proc/fs", "/proc/kmsg", "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled", "/sys/power/state", NULL};
static const char *const CGROUPS[] = {
    "/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/devices",
    "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", NULL};

static void fact(const char *kind, const char *name, const char *value) {
    printf("%s%s%s = %s\n", kind, *kind ? " " : "", name, value);
}

/* What the kernel or the filter turns away, against what reached the operation itself. */
static const char *outcome(long result) {
    static char text[64];
    if (result >= 0)
        return "allowed";
    switch (errno) {
    case EPERM: case EACCES: case ENOSYS: case EROFS: case EAFNOSUPPORT: case EPROTONOSUPPORT: case ENODEV: case ENXIO: case ENOTSUP:
        return "refused";
    case ENOENT:
        return "absent";
    }
    snprintf(text, sizeof text, "reached (errno %d)", errno);
    return text;
}

static void status(void) {
    char line[512];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *value = strchr(line, ':');
        if (!value)
            continue;
        *value++ = 0;
        value += strspn(value, " \t");
        value[strcspn(value, "\n")] = 0;
        for (int i = 0; STATUS[i]; i++)
            if (!strcmp(STATUS[i], line))
                fact("", line, value);
    }
    if (file)
        fclose(file);
}

static void first_line(const char *kind, const char *name, const char *path) {
    char text[256] = "none";
    int file = open(path, O_RDONLY);
    if (file >= 0) {
        ssize_t length = read(file, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(file);
    }
    char squeezed[256];
    int to = 0;
    for (int from = 0; text[from] && text[from] != '\n'; from++)
        if (text[from] != ' ' || (to && squeezed[to - 1] != ' '))
            squeezed[to++] = text[from];
    squeezed[to] = 0;
    fact(kind, name, to ? squeezed : "none");
}

static void namespaces(void) {
    for (int i = 0; NAMESPACES[i]; i++) {
        char path[64], target[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", NAMESPACES[i]);
        ssize_t length = readlink(path, target, sizeof target - 1);
        target[length > 0 ? length : 0] = 0;
        fact("namespace", NAMESPACES[i], target);
    }
}

static const char *readable(const char *path) {
    char byte;
    struct stat info;
    if (stat(path, &info))
        return "masked";
    if (S_ISDIR(info.st_mode)) {
        DIR *directory = opendir(path);
        struct dirent *entry;
        int found = 0;
        while (directory && (entry = readdir(directory)))
            found |= entry->d_name[0] != '.';
        if (directory)
            closedir(directory);
        return found ? "readable" : "masked";
    }
    int file = open(path, O_RDONLY | O_NONBLOCK);
    ssize_t length = file < 0 ? -1 : read(file, &byte, 1);
    if (file >= 0)
        close(file);
    return length > 0 ? "readable" : "masked";
}

static const char *writable(const char *path) {
    struct stat info;
    struct statvfs mount;
    if (stat(path, &info))
        return "absent";
    if (S_ISDIR(info.st_mode))
        return statvfs(path, &mount) || !(mount.f_flag & ST_RDONLY) ? "writable" : "refused";
    int file = open(path, O_WRONLY | O_NONBLOCK);
    if (file >= 0)
        close(file);
    return file >= 0 ? "writable" : "refused";
}

static const char *makes_group(const char *path) {
    struct stat info;
    char group[128];
    if (stat(path, &info))
        return "absent";
    snprintf(group, sizeof group, "%s/made-inside", path);
    if (mkdir(group, 0755))
        return "refused";
    rmdir(group);
    return "writable";
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void names_in(const char *path, const char *fact_name, int only_devices) {
    char *names[256], text[4096] = "";
    int count = 0, directory_fd;
    DIR *directory = opendir(path);
    struct dirent *entry;
    if (!directory)
        return;
    directory_fd = dirfd(directory);
    while ((entry = readdir(directory)) && count < 256) {
        struct stat info;
        int known = fstatat(directory_fd, entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0;
        if (entry->d_name[0] == '.' || (!only_devices && atoi(entry->d_name) == directory_fd))
            continue;
        if (!only_devices || (known && (S_ISCHR(info.st_mode) || S_ISBLK(info.st_mode))))
            names[count++] = strdup(entry->d_name);
    }
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    for (int i = 0; i < count; i++) {
        strcat(text, *text ? " " : "");
        strcat(text, names[i]);
    }
    fact("", fact_name, *text ? text : "none");
}

static void device(const char *name, mode_t kind, unsigned major_number, unsigned minor_number) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/node-%s", name);
    if (mknod(path, kind | 0600, makedev(major_number, minor_number))) {
        fact("mknod", name, "refused");
        return;
    }
    int file = open(path, O_RDONLY | O_NONBLOCK);
    fact("mknod", name, file >= 0 || errno == ENXIO ? "opens" : "useless");
    if (file >= 0)
        close(file);
    unlink(path);
}

/* In a child: what succeeds must not change what is asked next. */
static void attempt(const char *name, long (*operation)(void)) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        fact("attempt", name, outcome(operation()));
        fflush(stdout);
        _exit(0);
    }
    int state;
    waitpid(child, &state, 0);
    if (!WIFEXITED(state))
        fact("attempt", name, "refused");
}

static long mount_tmpfs(void) { return mount("none", "/tmp", "tmpfs", 0, NULL); }
static long mount_proc(void) { return mount("none", "/tmp", "proc", 0, NULL); }
static long remount_root(void) { return mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long remount_proc_sys(void) { return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL); }
static long unmount_mask(void) { return umount2("/proc/kcore", MNT_DETACH); }
static long new_user(void) { return unshare(CLONE_NEWUSER); }
static long new_mounts(void) { return unshare(CLONE_NEWNS); }
static long new_user_and_mount(void) { return unshare(CLONE_NEWUSER | CLONE_NEWNS) ?: mount_tmpfs(); }
static long pivot(void) { return syscall(SYS_pivot_root, "/", "/tmp"); }
static long enter_own(void) {
    int file = open("/proc/self/ns/net", O_RDONLY);
    return file < 0 ? -1 : setns(file, CLONE_NEWNET);
}
static long by_handle(void) {
    struct { struct file_handle head; unsigned char bytes[8]; } handle = {.head = {.handle_bytes = 8, .handle_type = 1}};
    handle.bytes[0] = 2;
    return open_by_handle_at(open("/", O_RDONLY | O_DIRECTORY), &handle.head, O_RDONLY);
}
static long keyring(void) { return syscall(SYS_keyctl, 0, -3, 0); }
static long new_key(void) { return syscall(SYS_add_key, "user", "hythe-probe", "x", 1, -2); }
static long bpf(void) {
    struct { unsigned type, key, value, entries; char rest[112]; } map = {1, 4, 4, 1, {0}};
    return syscall(SYS_bpf, 0, &map, sizeof map);
}
static long perf(void) {
    struct { unsigned type, size; unsigned long config[14]; } event = {1, 120, {0}};
    return syscall(SYS_perf_event_open, &event, -1, 0, -1, 0);
}
static long load_module(void) { return syscall(SYS_init_module, "", 0UL, ""); }
/* The magic numbers are wrong: whoever may do it is told so. */
static long restart(void) { return syscall(SYS_reboot, 0, 0, 0, NULL); }
static long kexec(void) { return syscall(SYS_kexec_load, 0UL, 0UL, NULL, 0xffffffffUL); }
static long swap(void) { return syscall(SYS_swapon, "/tmp/no-such-file", 0); }
static long accounting(void) { return syscall(SYS_acct, "/tmp/no-such-file"); }
static long kernel_log(void) { return syscall(SYS_syslog, 10, NULL, 0); }
static long fault_descriptor(void) { return syscall(SYS_userfaultfd, 0); }
static long packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0); }
static long raw_socket(void) { return socket(AF_INET, SOCK_RAW, 1); }
static long host_name(void) { return sethostname("probe", 5); }
static long io_ports(void) {
#ifdef SYS_iopl
    return syscall(SYS_iopl, 3);
#else
    errno = ENOSYS;
    return -1;
#endif
}
static long raise_priority(void) { return setpriority(PRIO_PROCESS, 0, -19); }
static const char *host_socket_name;
static long host_socket(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(host_socket_name);
    memcpy(address.sun_path + 1, host_socket_name, length);
    long connected = connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + length);
    errno = errno == ECONNREFUSED ? EPERM : errno;
    return connected;
}

static void attempts(void) {
    attempt("mount of a tmpfs", mount_tmpfs);
    attempt("mount of a proc", mount_proc);
    attempt("remount of /", remount_root);
    attempt("remount of /proc/sys", remount_proc_sys);
    attempt("unmount of a mask", unmount_mask);
    attempt("new user namespace", new_user);
    attempt("new mount namespace", new_mounts);
    attempt("mount in a new user namespace", new_user_and_mount);
    attempt("pivot_root", pivot);
    attempt("setns", enter_own);
    attempt("open_by_handle_at", by_handle);
    attempt("keyctl", keyring);
    attempt("add_key", new_key);
    attempt("bpf", bpf);
    attempt("perf_event_open", perf);
    attempt("init_module", load_module);
    attempt("reboot", restart);
    attempt("kexec_load", kexec);
    attempt("swapon", swap);
    attempt("acct", accounting);
    attempt("syslog", kernel_log);
    attempt("userfaultfd", fault_descriptor);
    attempt("packet socket", packet_socket);
    attempt("raw socket", raw_socket);
    attempt("sethostname", host_name);
    attempt("iopl", io_ports);
    attempt("higher priority", raise_priority);
    attempt("abstract socket of the host", host_socket);
}

static void limit(const char *name, int resource) {
    struct rlimit value;
    char text[32] = "unlimited";
    getrlimit(resource, &value);
    if (value.rlim_cur != RLIM_INFINITY)
        snprintf(text, sizeof text, "%llu", (unsigned long long)value.rlim_cur);
    fact("limit", name, text);
}

int main(int count, char **words) {
    host_socket_name = count > 1 ? words[1] : "none";
    status();
    first_line("", "uid_map", "/proc/self/uid_map");
    first_line("", "gid_map", "/proc/self/gid_map");
    first_line("", "oom_score_adj", "/proc/self/oom_score_adj");
    first_line("", "security label", "/proc/self/attr/current");
    namespaces();
    limit("core", RLIMIT_CORE);
    names_in("/proc/self/fd", "open descriptors", 0);
    names_in("/dev", "device nodes", 1);
    for (int i = 0; MASKED[i]; i++)
        fact("read", MASKED[i], readable(MASKED[i]));
    for (int i = 0; READ_ONLY[i]; i++)
        fact("write", READ_ONLY[i], writable(READ_ONLY[i]));
    for (int i = 0; CGROUPS[i]; i++)
        fact("new group in", CGROUPS[i], makes_group(CGROUPS[i]));
    device("disk", S_IFBLK, 7, 0);
    device("mem", S_IFCHR, 1, 1);
    device("kmsg", S_IFCHR, 1, 11);
    attempts();
    first_line("", "pids.max", access("/sys/fs/cgroup/pids/pids.max", R_OK) ? "/sys/fs/cgroup/pids.max" : "/sys/fs/cgroup/pids/pids.max");
    fflush(stdout);
    return 0;
}
