using System.Collections.Concurrent;
using System.Diagnostics;
using Yarnish.Hosting;
using Yarnish.NodeAgent.Containers;
using Yarnish.NodeAgent.Files;
using Yarnish.NodeAgent.Logs;
using Yarnish.NodeAgent.Processes;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Node;

/// <summary>
/// Does what the table asks for. What must be done before the next effect is done at once (records, signals); what takes time (fetching, deleting) runs beside the
/// loop and answers with an event.
/// </summary>
internal sealed class EffectPerformer(
    DataDirectory directory,
    RecordStore records,
    BlobCache cache,
    ContainerLauncher launcher,
    ContainerCgroups cgroups,
    ContainerLogs logs,
    Outbox outbox,
    Func<string> nodeUrl,
    Func<IReadOnlyList<string>> defaultSources,
    ILogger<EffectPerformer> logger) : IDisposable
{
    /// <summary>Characters of stderr in the diagnostics of an exit.</summary>
    public const int TailCharacters = 2048;

    // Less than this free on the disk counts as full.
    private const long FullBelow = 8L << 20;

    private static readonly ActivitySource Source = new(YarnishTelemetry.NodeAgent);

    private readonly CancellationTokenSource _lifetime = new();
    private readonly ConcurrentDictionary<ContainerId, CancellationTokenSource> _placing = [];
    private readonly ConcurrentDictionary<ContainerId, Activity> _launches = [];
    private readonly ConcurrentDictionary<Task, bool> _running = [];

    /// <summary>Where answers go; set before the first effect.</summary>
    public Func<AgentEvent, ValueTask<bool>> Post { get; set; } = _ => new(false);

    /// <summary>Called when the agent is to end, with an exit code and a reason.</summary>
    public Action<int, string> End { get; set; } = (_, _) => { };

    /// <summary>Does one effect.</summary>
    public void Perform(AgentEffect effect)
    {
        switch (effect)
        {
            case SendMessage send:
                outbox.Post(send.Message);
                break;
            case SaveEpoch save:
                directory.Epoch = save.Epoch;
                break;
            case SaveRecord save:
                records.Save(save.Record);
                break;
            case ForgetContainer forget:
                records.Forget(forget.ContainerId, forget.Exit);
                break;
            case PlaceFiles place:
                Beside(() => PlaceAsync(place.Launch));
                break;
            case CancelPlacing cancel:
                if (_placing.TryGetValue(cancel.ContainerId, out var placing))
                {
                    placing.Cancel();
                }
                break;
            case StartProcess start:
                Beside(() => StartAsync(start.Launch));
                break;
            case SignalProcess signal:
                Signal(signal);
                break;
            case ReleaseFiles release:
                EndLaunch(release.ContainerId, "the container ended");
                Beside(() => Release(release));
                break;
            case MarkApplicationEnded ended:
                directory.MarkEnded(ended.ApplicationId);
                break;
            case RemoveApplication remove:
                Beside(() => Remove(remove.ApplicationId));
                break;
            case Leave leave:
                End(AgentExitCode.NotPermitted, $"The resource manager does not take this node: {leave.Reason}");
                break;
            case ShutdownComplete:
                End(AgentExitCode.Success, "");
                break;
            case Ignored ignored:
                logger.LogInformation("{Reason}", ignored.Reason);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(effect), effect, "Not an effect of the container table.");
        }
    }

    /// <summary>Looks at what the launcher of a container wrote and what became of its processes, and posts what is new.</summary>
    /// <param name="view">The container as the table knows it.</param>
    public async Task NoticeAsync(ContainerView view)
    {
        var id = view.Record.ContainerId;
        var started = records.Started(id);
        if (started is not null && view.Process is null)
        {
            EndLaunch(id, "");
            await Post(new ProcessStarted(id, started));
        }
        if (records.ExitCode(id) is { } code)
        {
            await Post(new ProcessExited(id, EndOf(view.Record, code)));
        }
        else if ((started ?? view.Process) is { } process
            && !ProcessList.IsAlive(process.ProcessId, process.StartTicks)
            && !ProcessList.IsAlive(process.LauncherId, process.LauncherStartTicks))
        {
            // The launcher writes the code before it ends, so now there will be none, unless it came between the two looks.
            await Post(new ProcessExited(id, EndOf(view.Record, records.ExitCode(id))));
        }
    }

    /// <summary>What is known of the end of a process.</summary>
    public ProcessEnd EndOf(ContainerRecord record, int? code)
    {
        var tail = "";
        var full = false;
        try
        {
            tail = logs.Tail(directory.ContainerLogs(record.ApplicationId, record.ContainerId), "stderr", TailCharacters);
            full = new DriveInfo(directory.Root).AvailableFreeSpace < FullBelow;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("The stderr of container {Container} could not be read: {Error}", record.ContainerId, error.Message);
        }
        var peak = cgroups.KilledForMemory(record.ContainerId);
        return new ProcessEnd(code, tail)
        {
            DiskFull = full,
            InHand = InHand(record),
            OutOfMemory = peak is null
                ? ""
                : $"The kernel ended it for using {peak >> 20} MiB of memory; it was granted {record.Resources.MemoryBytes >> 20} MiB: ask for more memory per container, or give each fewer slots.",
        };
    }

    // Written by the container, so it may be anything, or nothing.
    private string? InHand(ContainerRecord record)
    {
        try
        {
            using var file = new FileStream(directory.PostMortem(record.ApplicationId, record.ContainerId), FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            var page = new byte[PostMortemPage.LengthOf(PostMortemPage.MaximumSlots)];
            return PostMortemPage.Read(page.AsSpan(0, file.ReadAtLeast(page, page.Length, throwOnEndOfStream: false)));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Waits until nothing runs beside the loop any more.</summary>
    public async Task DrainAsync(CancellationToken cancellation)
    {
        while (_running.Keys.ToArray() is { Length: > 0 } running)
        {
            await Task.WhenAll(running).WaitAsync(cancellation);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _lifetime.Cancel();
        _lifetime.Dispose();
    }

    private void Beside(Func<Task> work)
    {
        // No execution context flows: a span of one launch must not become the parent of another's.
        Task task;
        using (ExecutionContext.SuppressFlow())
        {
            task = Task.Run(async () =>
            {
                try
                {
                    await work();
                }
                catch (Exception error)
                {
                    // The edge of the work beside the loop: nothing above would see it.
                    logger.LogError(error, "Work of the agent failed in a way nobody foresaw.");
                }
            });
        }
        _running.TryAdd(task, true);
        _ = task.ContinueWith(done => _running.TryRemove(done, out _), CancellationToken.None, TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
    }

    private void Beside(Action work) => Beside(() =>
    {
        work();
        return Task.CompletedTask;
    });

    private async Task PlaceAsync(LaunchContainer launch)
    {
        var activity = Source.StartUnder("container.launch", launch.TraceParent, ActivityKind.Consumer);
        if (activity is not null)
        {
            activity.SetTag("yarnish.container", launch.ContainerId.Value).SetTag("yarnish.application", launch.ApplicationId.Value);
            _launches[launch.ContainerId] = activity;
        }
        using var localize = Child("localize", activity);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(_lifetime.Token);
        _placing[launch.ContainerId] = cancel;
        try
        {
            var sources = launch.BlobSources.IsDefaultOrEmpty ? defaultSources() : launch.BlobSources;
            await new FilePlacer(cache).PlaceAsync(launch, directory.Work(launch.ApplicationId, launch.ContainerId), sources, cancel.Token);
            localize?.Dispose();
            await Post(new FilesPlaced(launch.ContainerId));
        }
        catch (OperationCanceledException)
        {
            if (!_lifetime.IsCancellationRequested)
            {
                await Post(new FilesFailed(launch.ContainerId, ContainerExitCause.LocalizationFailed, "Placing its files was cancelled."));
            }
        }
        catch (Exception error)
        {
            localize?.SetStatus(ActivityStatusCode.Error, error.Message);
            await Post(new FilesFailed(launch.ContainerId, IsDiskFull(error) ? ContainerExitCause.DiskFull : ContainerExitCause.LocalizationFailed, Explain(error)));
        }
        finally
        {
            _placing.TryRemove(launch.ContainerId, out _);
        }
    }

    private async Task StartAsync(LaunchContainer launch)
    {
        _launches.TryGetValue(launch.ContainerId, out var activity);
        using var start = Child("start", activity);
        try
        {
            launcher.Start(launch, nodeUrl(), activity is null ? launch.TraceParent ?? "" : TraceContext.Format(activity));
        }
        catch (Exception error)
        {
            start?.SetStatus(ActivityStatusCode.Error, error.Message);
            await Post(new ProcessNotStarted(launch.ContainerId, IsDiskFull(error) ? ContainerExitCause.DiskFull : ContainerExitCause.LaunchFailed, Explain(error)));
        }
    }

    private static Activity? Child(string name, Activity? parent) => parent is null ? null : Source.StartActivity(name, ActivityKind.Internal, parent.Context);

    private void EndLaunch(ContainerId container, string problem)
    {
        if (_launches.TryRemove(container, out var activity))
        {
            if (problem.Length > 0)
            {
                activity.SetStatus(ActivityStatusCode.Error, problem);
            }
            activity.Dispose();
        }
    }

    private void Signal(SignalProcess signal)
    {
        var process = signal.Process;
        // Ids are used again: only the very process that was started is signalled.
        if (ProcessList.IsAlive(process.ProcessId, process.StartTicks))
        {
            logger.LogInformation("Container {Container}: SIG{Signal} to its process group {Group}.", signal.ContainerId, signal.Kill ? "KILL" : "TERM", process.ProcessId);
            try
            {
                NativeMethods.SignalGroup(process.ProcessId, signal.Kill ? NativeMethods.Kill : NativeMethods.Terminate);
            }
            catch (System.ComponentModel.Win32Exception error)
            {
                logger.LogError("Container {Container} could not be signalled: {Error}", signal.ContainerId, error.Message);
            }
        }
    }

    private void Release(ReleaseFiles release)
    {
        try
        {
            KillRest(release.ApplicationId, release.ContainerId);
            directory.Discard(directory.Container(release.ApplicationId, release.ContainerId));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("The directory of container {Container} could not be removed: {Error}", release.ContainerId, error.Message);
        }
        cache.Release(release.ContainerId);
    }

    // The launcher killed the group; what made itself a session of its own is found by the variable that it inherited. No process outlives its container. A launcher
    // that is still there has written all it had to write, or came too late. Another agent on this machine may have a container of the same id, of another cluster: only our
    // directory tells its processes from ours.
    private void KillRest(ApplicationId application, ContainerId container)
    {
        cgroups.Remove(container);
        var marker = $"{ContainerEnvironment.ContainerId}={container.Value}";
        var ours = $"{ContainerEnvironment.BlockDirectory}={directory.Blocks(application)}";
        foreach (var process in ProcessList.ReadAll())
        {
            if (process.Id != Environment.ProcessId && ProcessList.HasVariable(process.Id, marker) && ProcessList.HasVariable(process.Id, ours)
                && ProcessList.IsAlive(process.Id, process.StartTicks))
            {
                logger.LogInformation("Container {Container} left process {Process} behind; it is killed.", container, process.Id);
                NativeMethods.Signal(process.Id, NativeMethods.Kill);
            }
        }
    }

    private void Remove(ApplicationId application)
    {
        try
        {
            directory.Discard(directory.Application(application));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            logger.LogWarning("The directory of application {Application} could not be removed; it is tried again after the next start: {Error}", application, error.Message);
        }
    }

    // The C library's number of "no space left on device" and "quota exceeded", which .NET hands through.
    private static bool IsDiskFull(Exception error) => error is IOException { HResult: 28 or 122 } || (error.InnerException is { } inner && IsDiskFull(inner));

    private string Explain(Exception error) => error switch
    {
        _ when IsDiskFull(error) => $"The disk of the node is full: {error.Message} Free space under {directory.Root}, or give the agent a larger disk.",
        BlobException or LaunchException => error.Message,
        IOException or UnauthorizedAccessException => $"The agent could not write the container's directory: {error.Message}",
        _ => $"The agent failed: {error.Message}",
    };
}
