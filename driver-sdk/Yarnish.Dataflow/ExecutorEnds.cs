using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Tells the ends an executor brought about itself, and so perhaps the task it ran, from those others brought about.</summary>
internal static class ExecutorEnds
{
    /// <summary>
    /// True when the process ended by itself: what it was running is a suspect, and that counts towards the task's failures. False when its node, an operator, the
    /// resource manager or the driver ended it, or nobody knows.
    /// </summary>
    public static bool ByItself(ContainerExitCause cause) => cause is
        ContainerExitCause.Completed or ContainerExitCause.Failed or ContainerExitCause.KilledBySignal or ContainerExitCause.OutOfMemory or ContainerExitCause.DiskFull;
}
