use super::*;

const REAL: &[(&str, ErrorKind)] = &[
    // podman 4.3.1
    ("Error: no container with name or ID \"nope\" found: no such container", ErrorKind::NotFound),
    ("Error: inspecting object: no such container nope", ErrorKind::NotFound),
    (
        "Error: creating container storage: the container name \"a\" is already in use by 57bd. You have to remove that container to be able to reuse that name: that name is already in use",
        ErrorKind::AlreadyExists,
    ),
    ("Error: localhost/nope:1: image not known", ErrorKind::NotFound),
    ("Error: unable to find network with name or ID nope: network not found", ErrorKind::NotFound),
    ("Error: no volume with name \"nope\" found: no such volume", ErrorKind::NotFound),
    ("Error: network name n1 already used: network already exists", ErrorKind::AlreadyExists),
    ("Error: volume with name v1 already exists: volume already exists", ErrorKind::AlreadyExists),
    ("Error: cannot listen on the TCP port: listen tcp4 :18099: bind: address already in use", ErrorKind::Conflict),
    (
        "Error: runc: runc create failed: unable to start container process: exec: \"/no/such\": stat /no/such: no such file or directory: OCI runtime attempted to invoke a command that was not found",
        ErrorKind::Invalid,
    ),
    (
        "Error: runc: runc create failed: unable to start container process: exec: \"/etc\": permission denied: OCI permission denied",
        ErrorKind::Invalid,
    ),
    ("Error: unable to find user nosuch: no matching entries in passwd file", ErrorKind::Invalid),
    (
        "Error: runc: runc create failed: unable to start container process: error during container init: error setting rlimits for ready process: error setting rlimit type 7: operation not permitted: OCI permission denied",
        ErrorKind::Invalid,
    ),
    (
        "Error: runc: runc create failed: unable to start container process: error during container init: open /proc/sys/net/no/such: no such file or directory: OCI runtime attempted to invoke a command that was not found",
        ErrorKind::Invalid,
    ),
    (
        "Error: OCI runtime error: runc: runc create failed: unable to start container process: error during container init: write /proc/sys/net/core/somaxconn: invalid argument",
        ErrorKind::Invalid,
    ),
    (
        "Error: OCI runtime error: runc: runc create failed: unable to start container process: error during container init: error mounting \"/s/0\" to rootfs at \"/tmp\": mount /s/0:/tmp (via /proc/self/fd/6), flags: 0x5001: not a directory",
        ErrorKind::Invalid,
    ),
    ("Error: statfs /nope/x: no such file or directory", ErrorKind::Invalid),
    (
        "Error: OCI runtime error: runc: runc create failed: unable to start container process: error during container init: error setting cgroup config for procHooks process: unable to set memory limit to 1048576 (current usage: 2564096, peak usage: 2994176)",
        ErrorKind::Invalid,
    ),
    ("Error: \"CAP_FOO\": unknown capability", ErrorKind::Invalid),
    ("Error: opening seccomp profile failed: open /nope: no such file or directory", ErrorKind::Invalid),
    (
        "Error: cannot remove container 57bd as it is running - running or paused containers cannot be removed without force: container state improper",
        ErrorKind::Conflict,
    ),
    ("Error: can only create exec sessions on running containers: container state improper", ErrorKind::Conflict),
    ("Error: you can only attach to running containers", ErrorKind::Conflict),
    (
        "Error: initializing source docker://localhost/x:1: pinging container registry localhost: Get \"https://localhost/v2/\": dial tcp 127.0.0.1:443: connect: connection refused",
        ErrorKind::Unavailable,
    ),
    // podman 5
    (
        "Error: runc: runc create failed: unable to start container process: exec: \"/etc\": is a directory: OCI runtime error",
        ErrorKind::Invalid,
    ),
    (
        "Error: crun: the path `/etc` is not a regular file: Operation not permitted: OCI permission denied",
        ErrorKind::Invalid,
    ),
    (
        "Error: crun: the path `/etc/passwd` exists but it is not executable: Operation not permitted: OCI permission denied",
        ErrorKind::Invalid,
    ),
    (
        "Error: crun: executable file `/no/such` not found: No such file or directory: OCI runtime attempted to invoke a command that was not found",
        ErrorKind::Invalid,
    ),
    (
        "Error: creating container storage: the container name \"a\" is already in use by 57bd. You have to remove that container to be able to reuse that name: that name is already in use, or use --replace to instruct Podman to do so.",
        ErrorKind::AlreadyExists,
    ),
    ("Error: rootlessport listen tcp 0.0.0.0:8080: bind: address already in use", ErrorKind::Conflict),
    ("Error: route ip+net: no such network interface", ErrorKind::Unavailable),
    ("Error: database is locked", ErrorKind::Unavailable),
    ("Error: something nobody has seen", ErrorKind::Unavailable),
    ("Error: {\\0garbage", ErrorKind::Unavailable),
    ("", ErrorKind::Unavailable),
];

#[test]
fn real_words_are_understood() {
    for (stderr, kind) in REAL {
        let error = translate(About { operation: "run", subject: "a" }, 125, stderr);
        assert_eq!(error.kind(), *kind, "{stderr}");
        assert!(error.message().contains(words(stderr).as_str()));
    }
}

#[test]
fn unknown_words_may_pass_unless_they_speak_of_the_command() {
    let about = About { operation: "run", subject: "a" };
    assert!(translate(about, 125, "Error: something nobody has seen").is_temporary());
    assert_eq!(translate(about, 126, "Error: something nobody has seen").kind(), ErrorKind::Internal);
}

#[test]
fn a_limit_is_named() {
    let stderr = "Error: runc: error setting rlimit type 7: operation not permitted: OCI permission denied";
    let error = translate(About { operation: "run", subject: "a" }, 126, stderr);
    assert!(error.next_step().is_some_and(|hint| hint.contains("`nofile`")));
}

#[test]
fn the_port_and_the_directory_are_found() {
    assert_eq!(
        taken_port("Error: cannot listen on the TCP port: listen tcp4 :18099: bind: address already in use"),
        Some(18099)
    );
    assert_eq!(taken_port("Error: x: listen tcp6 [::1]:53: bind: address already in use"), Some(53));
    assert_eq!(taken_port("Error: no such container"), None);
    assert!(lacks_workdir("Error: workdir \"/new/dir\" does not exist on container 3340563346e8"));
}

#[test]
fn warnings_are_not_the_error() {
    assert_eq!(words("failed to connect to syslog: Initialization\nError: no such container\n"), "no such container");
}
