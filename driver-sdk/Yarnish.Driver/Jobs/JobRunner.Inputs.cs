using System.Collections.Concurrent;
using Yarnish.Blocks;
using Yarnish.Dataflow;
using Yarnish.Protocol;
using Yarnish.Tracing;
using Yarnish.Transport;

namespace Yarnish.Jobs;

/// <content>What comes in: from executors, from callers, from the fleet, from the clock.</content>
internal sealed partial class JobRunner
{
    /// <summary>Result blocks read at once.</summary>
    private const int MaximumFetches = 4;

    private static readonly TimeSpan RefreshInterval = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan DisplayInterval = TimeSpan.FromMilliseconds(200);

    private readonly Dictionary<ExecutorId, ExecutorHello> executors = [];
    private readonly Dictionary<NodeId, string> nodeUrls = [];
    private readonly ConcurrentDictionary<ExecutorId, string> blockUrls = new();
    private readonly SemaphoreSlim fetches = new(MaximumFetches);

    private void Handle(DriverLinkEvent happened, DateTimeOffset now)
    {
        switch (happened)
        {
            case ExecutorMessageReceived { Message: TaskReports reports }:
                Tell(new TasksEnded(reports.From, reports.Reports), now);
                break;
            case ExecutorMessageReceived { Message: ExecutorBeat beat }:
                Tell(new ExecutorAlive(beat.From, beat.Running, beat.Queued), now);
                outbox.Send(beat.From, new DriverAlive(DriverEpoch));
                break;
            case ExecutorMessageReceived { Message: ExecutorHello hello }:
                TakeHello(hello, now);
                break;
            case ExecutorMessageReceived { Message: LocationsWanted wanted }:
                Tell(new LocationsMissing(wanted.From, wanted.ShuffleId, wanted.Epoch), now);
                break;
            case ExecutorMessageReceived { Message: BarrierArrived arrived }:
                Tell(new BarrierReached(arrived.From, arrived.AttemptId, arrived.Round, arrived.Message), now);
                break;
            case ExecutorMessageReceived { Message: PartitionsHeld held }:
                Tell(PartitionsTold.From(held), now);
                break;
            case ExecutorMessageReceived { Message: BlockWanted wanted }:
                _ = GiveAsync(wanted, executors.GetValueOrDefault(wanted.From.ExecutorId));
                break;
            case ExecutorMessageReceived { Message: ExecutorGoodbye goodbye }:
                Tell(new ExecutorLost(goodbye.From.ExecutorId, ContainerExitCause.StoppedByOperator, goodbye.Reason), now);
                break;
            case MessageReturned returned:
                codeSent.Remove(returned.To);
                Tell(new BatchReturned(returned.To, returned.Attempts, QueueGone: true), now);
                break;
            case LinkDown down:
                linkDown ??= (now, down.Reason);
                codeSent.Clear();
                Tell(new LinkInterrupted(down.Reason), now);
                break;
            case LinkUp:
                linkDown = null;
                Tell(new LinkRestored(MessagesMayBeLost: true), now);
                break;
            case LinkBlocked { Blocked: true } blocked:
                linkDown ??= (now, blocked.Reason);
                Tell(new LinkInterrupted(blocked.Reason), now);
                break;
            case LinkBlocked:
                linkDown = null;
                Tell(new LinkRestored(MessagesMayBeLost: false), now);
                break;
        }
    }

    private void Handle(object message, DateTimeOffset now)
    {
        switch (message)
        {
            case RunningJob job:
                Submit(job, now);
                break;
            case CancelRequest:
                foreach (var job in jobs.Values.Where(job => job.Cancellation.IsCancellationRequested).ToList())
                {
                    Tell(new JobCancelRequested(job.Id, job.WhyCancelled), now);
                }
                break;
            case CancelGroupRequest group:
                foreach (var job in jobs.Values.Where(job => job.Scope.Group?.Name == group.Group).ToList())
                {
                    Tell(new JobCancelRequested(job.Id, group.Reason), now);
                }
                break;
            case Question question:
                question.Ask(machine);
                break;
            case CancelAllRequest all:
                foreach (var job in jobs.Values.ToList())
                {
                    Tell(new JobCancelRequested(job.Id, all.Reason), now);
                }
                break;
            case ResultRead read:
                Tell(read.Outcome, now);
                break;
            case ResultFailure failure:
                Tell(new ResultHandlerFailed(failure.JobId, failure.Partition, RemoteError.From(failure.Error)), now);
                break;
            case RegistryHeard heard:
                registryDown = heard.Problem.Length == 0 ? null : registryDown ?? (now, heard.Problem);
                break;
            case UnpersistRequest unpersist:
                Tell(new CollectionUnpersisted(unpersist.Collection), now);
                outbox.Send(null, new DropBlocks([], [unpersist.Collection]));
                break;
            case BroadcastDropped dropped:
                outbox.Send(null, new DropBlocks([], []) { Broadcasts = [dropped.Number] });
                break;
            case BlockAnswer answer:
                outbox.Send(answer.To, answer.Answer);
                break;
            case FleetMessage posted:
                fleet.Handle(posted.Message, now);
                ApplyChanges(now);
                break;
            case Wake:
                WakeUp(now);
                break;
        }
    }

    private void Submit(RunningJob job, DateTimeOffset now)
    {
        if (abandoned is { } reason)
        {
            job.Fail(new YarnishJobException(FailureText.OfJob(job.Plan.Name, reason.Why, reason.Cure)) { ExitCode = reason.ExitCode });
            return;
        }
        job.Id = new JobId(nextJob++);
        job.Results = new ResultPump(job.Plan.OnResult, (partition, error) => PostSoon(new ResultFailure(job.Id, partition, error)));
        jobs.Add(job.Id, job);
        Volatile.Write(ref jobCount, jobs.Count);
        DriverTraces.Number(job.Activity, job.Id);
        foreach (var code in job.Codes)
        {
            code.Number = nextCode++;
            codes.Add(code.Number, (job, code));
        }
        if (jobs.Count == 1)
        {
            nextDisplay = now + DisplayInterval;
        }
        ReportCollections(job.Plan, now);
        Tell(new JobSubmitted(job.Id, Define(job)), now);
        fleet.JobSubmitted(now);
        if (job.Cancellation.IsCancellationRequested)
        {
            Tell(new JobCancelRequested(job.Id, job.WhyCancelled), now);
        }
    }

    private JobDefinition Define(RunningJob job) => new()
    {
        Name = job.Plan.Name,
        Group = job.Scope.Group?.Name ?? "",
        Description = job.Scope.Description ?? job.Scope.Group?.Description ?? "",
        Pool = job.Scope.Pool ?? JobScope.DefaultPool,
        PoolWeight = PoolOf(job).Weight,
        PoolMinimumShare = PoolOf(job).MinimumShare,
        Partitions = job.Plan.Partitions,
        ResultLimitBytes = options.MaximumResultBytes,
        Stages = [.. job.Codes.Select(static code => new StageDefinition
        {
            Name = code.Stage.Name,
            Partitions = code.Stage.Partitions,
            Output = code.Stage.Output is { } output ? new ShuffleOutput(output.Shuffle, output.Reducers) : null,
            Inputs = code.Stage.Inputs,
            Persisted = [.. code.Stage.Persisted.Select(static collection => collection.Id)],
            PersistedParts = code.Stage.PersistedParts,
            Code = code.Number,
            Indeterminate = code.Stage.Indeterminate,
            Barrier = code.Stage.Barrier,
        })],
    };

    private PoolOptions PoolOf(RunningJob job) => options.Pools.GetValueOrDefault(job.Scope.Pool ?? JobScope.DefaultPool) ?? ordinary;

    private readonly PoolOptions ordinary = new();

    private void TakeHello(ExecutorHello hello, DateTimeOffset now)
    {
        if (!fleet.Accept(hello, now))
        {
            outbox.Send(hello.From, new ShutdownExecutor("the driver has released this executor"));
            return;
        }
        foreach (var old in codeSent.Keys.Where(address => address.ExecutorId == hello.From.ExecutorId && address.Epoch < hello.From.Epoch).ToList())
        {
            codeSent.Remove(old);
        }
        executors[hello.From.ExecutorId] = hello;
        nodeUrls[hello.NodeId] = hello.NodeUrl;
        blockUrls[hello.From.ExecutorId] = hello.NodeUrl;
        liveSlots = executors.Values.Sum(static executor => executor.Slots);
        outbox.Send(hello.From, new DriverAlive(DriverEpoch));
        Tell(ExecutorJoined.From(hello), now);
    }

    private async Task GiveAsync(BlockWanted wanted, ExecutorHello? asker)
    {
        if (asker is null)
        {
            return; // Released or lost meanwhile: nobody waits.
        }
        var problem = await Task.Run(() => Broadcasts.GiveAsync(asker.NodeId, asker.NodeUrl, wanted.Block)).ConfigureAwait(false);
        PostSoon(new BlockAnswer(wanted.From, new BlockGiven(wanted.Block, problem)));
    }

    private async Task FetchAsync(FetchResult fetch, string nodeUrl)
    {
        var attempt = fetch.Report.AttemptId;
        var block = fetch.Report.ResultBlock!;
        JobEvent outcome;
        try
        {
            await fetches.WaitAsync(stopping.Token).ConfigureAwait(false);
            try
            {
                var content = await readBlock(nodeUrl, BlockId.Create(block), stopping.Token).ConfigureAwait(false);
                outcome = new ResultFetched(attempt, fetch.Report with { Result = content, ResultBlock = null });
            }
            finally
            {
                fetches.Release();
            }
        }
        catch (OperationCanceledException)
        {
            return;
        }
        catch (Exception error)
        {
            outcome = new ResultLost(attempt, $"block {block} of executor {fetch.ExecutorId} could not be read from {(nodeUrl.Length == 0 ? "this process" : nodeUrl)}: {error.Message}");
        }
        PostSoon(new ResultRead(outcome));
    }

    private void WakeUp(DateTimeOffset now)
    {
        armedFor = DateTimeOffset.MaxValue;
        if (machine.NextWake <= now)
        {
            Tell(TimePassed.Instance, now);
        }
        if (fleet.NextWake <= now)
        {
            fleet.Tick(now);
            ApplyChanges(now);
        }
        if (nextDisplay <= now)
        {
            nextDisplay = now + DisplayInterval;
            if (jobs.Count > 0)
            {
                ReportAccumulators(now);
                display.Show(Snapshot(now));
            }
        }
        if (accumulatorsDue <= now)
        {
            ReportAccumulators(now);
        }
        if (nextRefresh <= now)
        {
            nextRefresh = now + RefreshInterval;
            _ = IgnoreAsync(registry.RefreshAsync(stopping.Token));
        }
        if (linkDown is { } down && now - down.Since >= options.BrokerTimeout && jobs.Count > 0)
        {
            FailJobs($"the message broker has not worked for {options.BrokerTimeout.TotalSeconds:0} s: {down.Reason}", "start the broker again, then the program; a longer wait is set with Yarnish:BrokerTimeout", exitCode: 6);
        }
        // Known from a stage that could not publish where its output is: those that read it ask again and again, and each time Redis gets another chance.
        if (registryDown is { } missing && now - missing.Since >= options.BrokerTimeout)
        {
            registryDown = null;
            FailJobs($"Redis has not worked for {options.BrokerTimeout.TotalSeconds:0} s: {missing.Reason}", "start Redis again, then the program; a longer wait is set with Yarnish:BrokerTimeout", exitCode: 6);
        }
    }

    /// <summary>What the registry could not do now it does at the next occasion: the driver holds the truth.</summary>
    private static async Task IgnoreAsync(ValueTask work)
    {
        try
        {
            await work.ConfigureAwait(false);
        }
        catch (Exception error) when (error is BlockRegistryException or OperationCanceledException or ObjectDisposedException)
        {
            // Missing entries are asked for by those who miss them.
        }
    }
}
