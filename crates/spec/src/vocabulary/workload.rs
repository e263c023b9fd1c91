//! Workloads: what is desired, what is observed, why one ended or differs.

vocabulary! {
    /// Whether a workload should run.
    Desired {
        /// It should run.
        Running = "running",
        /// A user stopped it, or its service is not active.
        Stopped = "stopped",
        /// It is being undeployed; its record goes with its last instance.
        Removed = "removed",
    }
}

vocabulary! {
    /// State of a workload.
    WorkloadState {
        /// Accepted; waits for its turn or its dependencies.
        Pending = "pending",
        /// Its image is being fetched.
        Pulling = "pulling",
        /// Its instance is being made and started.
        Starting = "starting",
        /// It runs.
        Running = "running",
        /// It is frozen.
        Paused = "paused",
        /// It is being stopped.
        Stopping = "stopping",
        /// It does not run, as desired.
        Stopped = "stopped",
        /// It ended with exit code 0 and is not started again.
        Completed = "completed",
        /// It ended and waits for its next start.
        Restarting = "restarting",
        /// It does not run against what is desired, and nothing more is tried; the message says why.
        Failed = "failed",
        /// It is being removed.
        Removing = "removing",
        /// Its engine does not answer; nothing is known.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// Result of health probes.
    #[derive(Default)]
    HealthState {
        /// No probe, or it does not run.
        #[default]
        None = "none",
        /// No probe has succeeded yet.
        Starting = "starting",
        /// Probes succeed.
        Healthy = "healthy",
        /// Too many probes in a row failed.
        Unhealthy = "unhealthy",
    }
}

vocabulary! {
    /// Why the main process of a workload ended.
    #[derive(Default)]
    ExitCause {
        /// It ended by itself.
        #[default]
        Exited = "exited",
        /// It died of a signal: one that processes bring on themselves, such as SIGSEGV, where the agent tells them apart.
        Signal = "signal",
        /// The kernel killed it for lack of memory.
        OutOfMemory = "out-of-memory",
        /// Somebody other than the agent killed or stopped it.
        Outside = "outside",
        /// It ended while its engine did not answer.
        EngineGone = "engine-gone",
        /// It ended with the host it ran on.
        HostRebooted = "host-rebooted",
        /// The agent stopped it, as desired.
        Stopped = "stopped",
        /// The agent stopped it because it was not healthy.
        Unhealthy = "unhealthy",
        /// It died of a signal that a user asked the agent to send.
        Requested = "requested",
        /// It was never executed: no such program, or one that cannot be.
        NeverStarted = "never-started",
        /// The engine ended it by force when its time to stop was over, and it has no exit code of its own: a virtual machine.
        Killed = "killed",
        /// The kernel of its virtual machine panicked.
        GuestPanic = "guest-panic",
        /// The cluster took it off its node.
        Evicted = "evicted",
        /// Its node is gone from the cluster.
        NodeLost = "node-lost",
        /// The engine does not know.
        Unknown = "unknown",
    }
}

vocabulary! {
    /// Why desired and observed differ.
    DriftCause {
        /// It was changed in the engine out of band, or the instance was recreated with another value.
        Modified = "modified",
        /// The image's name refers to another image in that engine now.
        ImageMoved = "image-moved",
        /// It is desired and does not exist.
        Missing = "missing",
        /// It does not run.
        Stopped = "stopped",
        /// It is frozen.
        Paused = "paused",
        /// The instance has another name than it was created with.
        Renamed = "renamed",
        /// It exists and the component does not ask for it.
        Unexpected = "unexpected",
        /// The desired generation failed, and the generation before it runs.
        RolledBack = "rolled-back",
        /// The agent is about to apply it.
        Pending = "pending",
        /// The engine does not answer.
        Unreachable = "unreachable",
    }
}
