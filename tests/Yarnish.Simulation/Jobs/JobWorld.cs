using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Simulation.Jobs;

/// <summary>What a run of jobs ended with.</summary>
internal sealed record JobOutcome(List<string> Violations, long Events, SortedSet<string> Reached, ulong Digest);

/// <summary>
/// The real <see cref="JobMachine"/> with simulated executors, nodes, broker and clock, all from one seed. Tasks compute: they read the parts of their shuffles where the registry says
/// they are, add them up, and split the sum over the reducers of their own shuffle. A stage that is not repeatable splits differently with each attempt. So the sum of all
/// results is known beforehand, and wrong as soon as one part is read twice, not at all, or from two different tries of an unrepeatable stage. Tasks of barrier stages meet; partitions are poisoned; jobs
/// are cancelled; executors are asked for and given back by the machine's own rules.
/// </summary>
internal sealed class JobWorld
{
    private const int Reducers = 4;
    private static readonly DateTimeOffset Start = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    private readonly SeededRandom _random;
    private readonly JobMachine _machine;
    private readonly PriorityQueue<Action, (long At, long Order)> _agenda = new();
    private readonly List<Template> _templates = [];
    private readonly Dictionary<int, JobRun> _jobs = [];
    private readonly SortedDictionary<string, SimulatedExecutor> _executors = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, SimulatedNode> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<(int Shuffle, int Epoch), IReadOnlyList<MapOutput>> _registry = [];
    private readonly bool _chaos;
    private long _now;
    private long _order;
    private long _steps;
    private long _wakeAt = long.MaxValue;
    private int _nextJob;
    private int _nextExecutor;
    private int _nextNode;
    private bool _linkDown;

    private readonly PlantedJobBug _bug;
    private readonly Action<object, DateTimeOffset>? _watch;
    private readonly SortedSet<string> _reached = new(StringComparer.Ordinal);
    private readonly AllocationOptions? _allocation;
    private readonly Dictionary<StageDefinition, JobRun> _jobOf = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<(int Stage, int Partition)> _counted = [];
    private readonly HashSet<(int Stage, int Attempt)> _barriersStarted = [];
    private long _events;
    private int _wanted = 2;
    private ulong _digest = 14695981039346656037UL;

    private JobWorld(ulong seed, PlantedJobBug bug, Action<object, DateTimeOffset>? watch)
    {
        _random = new SeededRandom(seed * 2654435761UL);
        _chaos = bug != PlantedJobBug.None || _random.Chance(850);
        _bug = bug;
        _watch = watch;
        _allocation = _random.Chance(500) ? new AllocationOptions { Idle = TimeSpan.FromSeconds(5), IdleWithCache = TimeSpan.FromSeconds(8), Minimum = 1, Initial = 3, SlotsPerExecutor = 2 } : null;
        _machine = new JobMachine(new JobMachineOptions
        {
            Speculation = _random.Chance(500),
            SpeculationQuantilePercent = 50,
            Exclusion = _random.Chance(500),
            ExclusionTime = TimeSpan.FromSeconds(5),
            BatchLimit = _random.Between(1, 65),
            Allocation = _allocation,
            Planted = bug,
        });
    }

    /// <summary>When the clock starts.</summary>
    public static DateTimeOffset Begin => Start;

    /// <summary>Runs the jobs of a seed.</summary>
    /// <param name="seed">The seed.</param>
    /// <param name="jobs">How many jobs.</param>
    /// <param name="bug">A bug to plant.</param>
    /// <param name="watch">Sees each event before the machine, and each effect before it is carried out.</param>
    public static JobOutcome Run(ulong seed, int jobs = 6, PlantedJobBug bug = PlantedJobBug.None, Action<object, DateTimeOffset>? watch = null)
    {
        var world = new JobWorld(seed, bug, watch);
        var violations = new List<string>();
        try
        {
            world.Run(jobs);
        }
        catch (JobViolation violation)
        {
            violations.Add(violation.Message);
        }
        catch (InvalidOperationException error) when (error.Message.StartsWith("The job machine contradicts itself", StringComparison.Ordinal))
        {
            violations.Add($"consistent: {error.Message}");
        }
        catch (Exception error) when (error is not OutOfMemoryException)
        {
            violations.Add($"crash: {error.GetType().Name}: {error.Message} {error.StackTrace?.Split('\n').FirstOrDefault()?.Trim()}");
        }
        return new JobOutcome(violations, world._events, world._reached, world._digest);
    }

    private void Expect(bool holds, string invariant, Func<string> message)
    {
        if (!holds)
        {
            throw new JobViolation($"{invariant}: {message()} (at {TimeSpan.FromTicks(_now).TotalSeconds:0.000} s)");
        }
    }

    private void Reach(string what) => _reached.Add(what);

    private void Run(int jobs)
    {
        for (var i = 0; i < 3; i++)
        {
            AddNode();
        }
        _wanted = 3;
        Maintain();
        _wanted = 2;
        for (var i = 0; i < jobs; i++)
        {
            At(_random.Between(0, 3000), () => Submit(RandomPlan(), poisoned: true));
        }
        if (_chaos)
        {
            for (var i = 0; i < 25; i++)
            {
                At(_random.Between(0, 5000), Misfortune);
            }
        }
        Work(() => _jobs.Count >= jobs && _jobs.Values.All(job => job.Ended) && _jobs.Values.Count(job => job.Succeeded) == jobs);

        // Everything a finished job leaves is gone once its owner let go and the last report is in.
        foreach (var template in _templates)
        {
            Apply(new ShuffleReleased(new ShuffleId(template.Shuffle)));
        }
        Work(() => _machine.Totals.TasksRunning == 0);
        var left = _machine.Leftovers();
        Expect(left.Count == 0, "leftovers", () => string.Join(", ", left));
        _machine.AssertConsistent();
        foreach (var node in _nodes.Values)
        {
            Expect(node.Files.Count == 0, "leftovers", () => $"{node.Files.Count} files on {node.Name}");
        }
        if (_allocation is { } allocation)
        {
            // Nothing to do: what idles goes, down to the minimum, as soon as nothing is excluded or persisted any more.
            var rest = _now + TimeSpan.FromSeconds(40).Ticks;
            Work(() => _now >= rest);
            var live = _executors.Values.Count(static executor => executor.Alive);
            Expect(live == allocation.Minimum && _wanted == allocation.Minimum, "idle", () => $"{live} executors are held and {_wanted} wanted though nothing has run for 40 s; the minimum is {allocation.Minimum}");
        }
    }

    // ── Time.

    private void At(double inMilliseconds, Action action) => _agenda.Enqueue(action, (_now + (long)(inMilliseconds * TimeSpan.TicksPerMillisecond), _order++));

    private void Work(Func<bool> until)
    {
        while (!until())
        {
            Expect(++_steps < 150_000, "liveness", () => $"no end in sight after {_steps} steps: {Describe()}");
            Expect(_agenda.Count > 0, "liveness", () => $"nothing happens any more: {Describe()}");
            _agenda.TryDequeue(out var action, out var when);
            _now = Math.Max(_now, when.At);
            action!();
        }
    }

    private string Describe()
    {
        var snapshot = _machine.Snapshot();
        return string.Join("; ", snapshot.Jobs.Where(static job => job.State == JobState.Running).Select(static job => $"job {job.JobId}: {job.TasksDone}/{job.Tasks}"))
            + " | " + string.Join("; ", snapshot.Stages.Where(static stage => stage.State is StageState.Running or StageState.Waiting or StageState.Repeating).Select(static stage => $"stage {stage.StageId} {stage.Name} {stage.State}: {stage.Done}/{stage.Tasks}, {stage.Running} run"))
            + " | " + string.Join("; ", snapshot.Executors.Select(static executor => $"{executor.ExecutorId} {executor.State}: {executor.InFlight}/{executor.Slots}"));
    }

    private void Apply(JobEvent happened)
    {
        var effects = new List<JobEffect>();
        _watch?.Invoke(happened, Start.AddTicks(_now));
        _machine.Apply(happened, Start.AddTicks(_now), effects);
        if (++_events % 8 == 0)
        {
            _machine.AssertConsistent();
        }
        foreach (var effect in effects)
        {
            Digest(effect);
        }
        ExpectWholeBarriers(effects);
        foreach (var effect in effects)
        {
            _watch?.Invoke(effect, Start.AddTicks(_now));
            Carry(effect);
        }
        if (_machine.NextWake is { } wake && (wake - Start).Ticks < _wakeAt)
        {
            _wakeAt = Math.Max((wake - Start).Ticks, _now);
            _agenda.Enqueue(Wake, (_wakeAt, _order++));
        }

        void Wake()
        {
            _wakeAt = long.MaxValue;
            Apply(TimePassed.Instance);
        }
    }

    private void Digest(JobEffect effect)
    {
        var value = (ulong)effect.GetType().Name.Length;
        switch (effect)
        {
            case SendTasks send:
                value = send.Tasks.Aggregate((ulong)send.StageId.Value, static (sum, task) => (sum * 31) ^ (ulong)task.AttemptId.Value ^ ((ulong)task.Partition << 20));
                break;
            case PartitionResult result:
                value = ((ulong)result.JobId.Value << 32) ^ (ulong)result.Partition;
                break;
            case ExecutorsWanted wanted:
                value = (ulong)wanted.Count;
                break;
        }
        _digest = (_digest ^ value) * 1099511628211UL;
    }

    /// <summary>A try of a barrier stage starts with all its tasks, or not yet.</summary>
    private void ExpectWholeBarriers(List<JobEffect> effects)
    {
        foreach (var started in effects.OfType<SendTasks>().Where(static send => send.Stage.Barrier).GroupBy(static send => (send.StageId.Value, send.StageAttempt)))
        {
            if (_barriersStarted.Add(started.Key))
            {
                var sent = started.Sum(static send => send.Tasks.Count);
                Expect(sent == started.First().Stage.Partitions, "barrier", () => $"{sent} of {started.First().Stage.Partitions} tasks of barrier stage {started.Key} were sent");
                Reach("barrier stage started");
            }
        }
    }

    // ── What the machine wants.

    private void Carry(JobEffect effect)
    {
        switch (effect)
        {
            case SendTasks send:
                Expect(!_linkDown, "link", () => "tasks were sent while the link is interrupted");
                Deliver(send.To, executor => Receive(executor, send), () =>
                {
                    if (_random.Chance(800))
                    {
                        At(_random.Between(0, 20), () => Apply(new BatchReturned(send.To, [.. send.Tasks.Select(task => task.AttemptId)], QueueGone: true)));
                    }
                });
                break;
            case StopTasks stop:
                Deliver(stop.To, executor => Stop(executor, stop), () => { });
                break;
            case WriteOut write:
                Deliver(write.To, executor => ToDriver(executor, () => Apply(new PartitionsTold(write.To, new NodeId(executor.Node.Name), []) { AllWritten = true })), () => { });
                break;
            case SendCopies copies:
                Reach("persisted partitions copied");
                Deliver(copies.To, executor => ToDriver(executor, () => Apply(new PartitionsTold(
                    copies.To, new NodeId(executor.Node.Name), [.. copies.Partitions.Select(static copy => new CachedPartition(copy.Collection, copy.Partition, 0, 1))]))), () => { });
                break;
            case HelloWanted wanted:
                Deliver(wanted.To, Hello, () => { });
                break;
            case PublishLocations published:
                Expect(published.Outputs.All(static output => output is not null), "locations", () => $"shuffle {published.ShuffleId} is published with holes");
                if (published.Epoch > 1)
                {
                    Reach(published.AnswerTo is null ? "shuffle written again" : "locations asked for");
                }
                _registry[(published.ShuffleId.Value, published.Epoch)] = published.Outputs;
                break;
            case FetchResult fetch:
                At(_random.Between(0, 20), () => Apply(
                    _chaos && _random.Chance(100)
                        ? new ResultLost(fetch.Report.AttemptId, "chaos")
                        : new ResultFetched(fetch.Report.AttemptId, fetch.Report)));
                break;
            case PartitionResult result:
                var owner = _jobs[result.JobId.Value];
                Expect(!owner.Ended, "once", () => $"a result of partition {result.Partition} came after the end of job {result.JobId}");
                Expect(owner.Results.TryAdd(result.Partition, BitConverter.ToInt64(result.Report.Result.Span)), "once", () => $"partition {result.Partition} of job {result.JobId} came twice");
                break;
            case TasksSettled settled:
                Settle(settled);
                break;
            case StageEnded { Outcome: StageOutcome.Repeated }:
                Reach("stage repeated");
                break;
            case StageStarted started when _jobOf.TryGetValue(started.Stage, out var run):
                run.ResultStage = started.StageId.Value;
                break;
            case ReleaseBarrier release:
                if (!_chaos || _random.Chance(950))
                {
                    Deliver(release.To, executor => Release(executor, release), () => { });
                }
                break;
            case ExcludeExecutor:
                Reach("executor excluded");
                break;
            case JobCancelled cancelled:
                Reach("job cancelled");
                _jobs[cancelled.JobId.Value].Ended = true;
                At(_random.Between(10, 1000), () => Submit(_jobs[cancelled.JobId.Value].Plan, poisoned: false));
                break;
            case JobSucceeded succeeded:
                OnSucceeded(_jobs[succeeded.JobId.Value]);
                break;
            case JobFailed failed:
                OnFailed(_jobs[failed.JobId.Value], failed.Failure);
                break;
            case ReleaseExecutor release:
                if (_executors.TryGetValue(release.ExecutorId.Value, out var released))
                {
                    End(released, ContainerExitCause.Released);
                }
                break;
            case DropShuffle drop:
                foreach (var node in _nodes.Values)
                {
                    foreach (var file in node.Files.Keys.Where(file => file.Shuffle == drop.ShuffleId.Value).ToArray())
                    {
                        node.Files.Remove(file);
                    }
                }
                break;
            case ExecutorsWanted wanted:
                _wanted = wanted.Count;
                Maintain();
                break;
        }
    }

    /// <summary>What the resource manager does: as many as are wanted, and another for each that is gone.</summary>
    private void Maintain()
    {
        while (_executors.Count < Math.Min(_wanted, 8))
        {
            AddExecutor();
        }
    }

    private void Settle(TasksSettled settled)
    {
        foreach (var task in settled.Tasks)
        {
            if (task.Counts)
            {
                Expect(_counted.Add((task.StageId.Value, task.Partition)), "accumulators", () => $"partition {task.Partition} of stage {task.StageId} counts twice");
            }
            if (task.End is TaskExecutorLost)
            {
                Reach(task.End.CountsAsFailure ? "suspect" : "bystander");
            }
        }
    }

    private void Deliver(ExecutorAddress to, Action<SimulatedExecutor> arrived, Action returned) =>
        At(_random.Between(0, 4), () =>
        {
            if (_executors.TryGetValue(to.ExecutorId.Value, out var executor) && executor.Epoch == to.Epoch && executor.Connected)
            {
                arrived(executor);
            }
            else
            {
                returned();
            }
        });

    // ── Jobs.

    /// <summary>Some new shuffles, some old ones, and a result over them.</summary>
    private Plan RandomPlan()
    {
        for (var i = _random.Between(0, 4); i > 0; i--)
        {
            int[] reads = [.. _templates.Where(_ => _random.Chance(400)).Select(template => template.Shuffle)];
            var barrier = reads.Length == 0 && _random.Chance(300);
            _templates.Add(new Template(_templates.Count, barrier ? _random.Between(1, 3) : reads.Length == 0 ? _random.Between(0, 9) : Reducers, reads, _random.Chance(350), barrier));
        }
        int[] inputs = [.. _templates.Where(_ => _random.Chance(400)).Select(template => template.Shuffle)];
        var needed = new SortedSet<int>(inputs);
        for (var i = _templates.Count - 1; i >= 0; i--)
        {
            if (needed.Contains(i))
            {
                needed.UnionWith(_templates[i].Reads);
            }
        }
        return new Plan([.. needed.Select(i => _templates[i])], inputs, inputs.Length == 0 ? _random.Between(1, 20) : Reducers, _random.Between(0, 3));
    }

    private void Submit(Plan plan, bool poisoned)
    {
        var id = _nextJob++;
        var stages = plan.Maps.Select((map, code) => new StageDefinition
        {
            Name = $"map {map.Shuffle}",
            Partitions = map.Partitions,
            Output = new ShuffleOutput(new ShuffleId(map.Shuffle), Reducers),
            Inputs = [.. map.Reads.Select(read => new ShuffleId(read))],
            Code = code,
            Indeterminate = map.Indeterminate,
            Barrier = map.Barrier,
            Persisted = [map.Shuffle],
        }).ToList();
        stages.Add(new StageDefinition { Name = "result", Partitions = plan.Partitions, Inputs = [.. plan.Inputs.Select(read => new ShuffleId(read))], Code = stages.Count });
        var run = new JobRun(plan) { Poisoned = _chaos && poisoned && _random.Chance(300) ? _random.Between(0, plan.Partitions) : -1, Poison = _random.Between(1, 6) };
        _jobs.Add(id, run);
        _jobOf.Add(stages[^1], run);
        Apply(new JobSubmitted(new JobId(id), new JobDefinition { Stages = stages, Pool = $"pool {plan.Pool}", PoolWeight = plan.Pool + 1 }));
    }

    private void OnSucceeded(JobRun job)
    {
        job.Ended = job.Succeeded = true;
        Expect(job.Results.Keys.SequenceEqual(Enumerable.Range(0, job.Plan.Partitions)), "once", () => $"of {job.Plan.Partitions} partitions there are results of {string.Join(' ', job.Results.Keys)}");
        Expect(job.Results.Values.Sum() == TotalOf(job.Plan), "result", () => $"the results add up to {job.Results.Values.Sum()}, alone to {TotalOf(job.Plan)}");
        Expect(
            job.Plan.Maps.Any(static map => map.Indeterminate) || job.Results.Values.SequenceEqual(RunAlone(job.Plan)), "result",
            () => $"the results are {string.Join(' ', job.Results.Values)}, alone {string.Join(' ', RunAlone(job.Plan))}");
        Expect(
            Enumerable.Range(0, job.Plan.Partitions).All(partition => _counted.Contains((job.ResultStage, partition))), "accumulators",
            () => $"not every partition of result stage {job.ResultStage} counts");
        if (job is { Poison: 0, Poisoned: >= 0 })
        {
            Reach("poison survived");
        }
    }

    private void OnFailed(JobRun job, JobFailure failure)
    {
        job.Ended = true;
        Reach($"job failed: {failure.Reason}");
        Expect(
            _chaos && failure.Reason is JobFailureReason.TaskFailed or JobFailureReason.StageFailed or JobFailureReason.NotRepeatable or JobFailureReason.NowhereToRun, "failure", () => $"{failure}");
        At(_random.Between(10, 1000), () => Submit(job.Plan, poisoned: false));
    }

    private static long Own(int shuffle, int partition) => ((shuffle + 2) * 1_000_003L) + (partition * 7919L);

    /// <summary>How a task splits its sum: parts add up to it.</summary>
    private static long[] Split(long sum, long salt)
    {
        var parts = new long[Reducers];
        for (var reducer = 0; reducer < Reducers - 1; reducer++)
        {
            parts[reducer] = (sum / Reducers) + (((salt * 31) + reducer) % 97);
        }
        parts[^1] = sum - parts.Sum();
        return parts;
    }

    private long TotalOf(Plan plan)
    {
        var totals = new Dictionary<int, long>();
        foreach (var map in plan.Maps)
        {
            totals[map.Shuffle] = Enumerable.Range(0, map.Partitions).Sum(partition => Own(map.Shuffle, partition)) + map.Reads.Sum(read => totals[read]);
        }
        return Enumerable.Range(0, plan.Partitions).Sum(partition => Own(-1, partition)) + plan.Inputs.Sum(read => totals[read]);
    }

    /// <summary>The same plan, one task after the other, in one process.</summary>
    private static long[] RunAlone(Plan plan)
    {
        var shuffles = new Dictionary<int, long[]>();
        foreach (var map in plan.Maps)
        {
            var parts = new long[Reducers];
            for (var partition = 0; partition < map.Partitions; partition++)
            {
                var split = Split(Own(map.Shuffle, partition) + map.Reads.Sum(read => shuffles[read][partition]), partition);
                for (var reducer = 0; reducer < Reducers; reducer++)
                {
                    parts[reducer] += split[reducer];
                }
            }
            shuffles[map.Shuffle] = parts;
        }
        return [.. Enumerable.Range(0, plan.Partitions).Select(partition => Own(-1, partition) + plan.Inputs.Sum(read => shuffles[read][partition]))];
    }

    // ── Executors.

    private void AddNode()
    {
        var node = new SimulatedNode($"n{_nextNode++}");
        _nodes.Add(node.Name, node);
    }

    private void AddExecutor()
    {
        var node = _nodes.Values.ElementAt(_random.Between(0, _nodes.Count));
        var executor = new SimulatedExecutor($"e{_nextExecutor++:D4}", node, _allocation?.SlotsPerExecutor ?? _random.Between(1, 4));
        _executors.Add(executor.Name, executor);
        At(_random.Between(0, 200), () => Connect(executor));
        At(2000, () => Beat(executor));
    }

    private void Connect(SimulatedExecutor executor)
    {
        if (executor.Alive && !executor.Connected)
        {
            executor.Epoch++;
            executor.Connected = true;
            Hello(executor);
        }
    }

    private void Hello(SimulatedExecutor executor)
    {
        var hello = new ExecutorJoined(
            executor.Address, new NodeId(executor.Node.Name), executor.Slots, [.. executor.Queue.Concat(executor.Running).Select(task => task.Id)],
            [.. executor.Kept.Select(report => report.AttemptId)]);
        ToDriver(executor, () => Apply(hello));
        if (executor.Kept.Count > 0)
        {
            Send(executor, [.. executor.Kept]);
        }
    }

    private void Beat(SimulatedExecutor executor)
    {
        if (executor.Alive)
        {
            if (executor.Connected)
            {
                var beat = new ExecutorAlive(executor.Address, [.. executor.Running.Select(task => task.Id)], executor.Queue.Count);
                ToDriver(executor, () => Apply(beat));
            }
            At(2000, () => Beat(executor));
        }
    }

    /// <summary>In the order of sending, unless the broker has other plans; held back while the link is down, sometimes said twice.</summary>
    private void ToDriver(SimulatedExecutor executor, Action arrives)
    {
        var at = Math.Max(_now + (long)(_random.Between(0, 5) * TimeSpan.TicksPerMillisecond), executor.LastArrival);
        executor.LastArrival = _chaos && _random.Chance(50) ? _now : at;
        var copies = _chaos && _random.Chance(50) ? 2 : 1;
        for (; copies > 0; copies--)
        {
            Enqueue(at);
            at += (long)(_random.Between(0, 3000) * TimeSpan.TicksPerMillisecond);
        }

        void Enqueue(long when) => _agenda.Enqueue(
            () =>
            {
                if (_linkDown)
                {
                    Enqueue(_now + TimeSpan.TicksPerSecond);
                }
                else
                {
                    arrives();
                }
            }, (when, _order++));
    }

    private void Send(SimulatedExecutor executor, TaskReport[] reports) =>
        ToDriver(executor, () =>
        {
            foreach (var report in reports)
            {
                executor.Kept.Remove(report);
            }
            Apply(new TasksEnded(executor.Address, reports));
        });

    private void Receive(SimulatedExecutor executor, SendTasks send)
    {
        foreach (var task in send.Tasks)
        {
            if (executor.Seen.Add(task.AttemptId))
            {
                executor.Queue.Add(new SimulatedTask(task.AttemptId, send.Stage, send.StageId.Value, task.Partition, send.Inputs, executor.Node));
            }
        }
        Fill(executor);
    }

    private void Fill(SimulatedExecutor executor)
    {
        while (executor.Alive && executor.Running.Count < executor.Slots && executor.Queue.Count > 0)
        {
            var task = executor.Queue[0];
            executor.Queue.RemoveAt(0);
            executor.Running.Add(task);
            if (_jobOf.TryGetValue(task.Stage, out var job) && job.Poisoned == task.Partition && job.Poison > 0)
            {
                job.Poison--;
                End(executor, ContainerExitCause.KilledBySignal, known: true);
                return;
            }
            if (task.Stage.Barrier)
            {
                At(_random.Between(0, 60), () => Arrive(executor, task));
                continue;
            }
            if (_chaos && task.Inputs.Count > 0 && _random.Chance(20))
            {
                var missing = new LocationsMissing(executor.Address, task.Inputs[0].ShuffleId, task.Inputs[0].Epoch);
                ToDriver(executor, () => Apply(missing));
            }
            var took = _random.Chance(80) ? _random.Between(500, 4000) : _random.Between(0, 60);
            At(took, () => Finish(executor, task, took));
        }
    }

    /// <summary>A task of a barrier stage comes to its next barrier, and says so again until it is released.</summary>
    private void Arrive(SimulatedExecutor executor, SimulatedTask task)
    {
        if (!executor.Alive || !executor.Running.Contains(task) || task.Stopped)
        {
            return;
        }
        var round = task.Round;
        if (round == SimulatedTask.Rounds)
        {
            Finish(executor, task, 1);
            return;
        }
        if (executor.Connected)
        {
            var reached = new BarrierReached(executor.Address, task.Id, round, $"{task.Partition} in {round}");
            ToDriver(executor, () => Apply(reached));
        }
        At(_chaos ? _random.Between(100, 2500) : 2000, () =>
        {
            if (task.Round == round)
            {
                Reach("barrier said again");
                Arrive(executor, task);
            }
        });
    }

    private void Release(SimulatedExecutor executor, ReleaseBarrier release)
    {
        foreach (var id in release.Attempts)
        {
            if (executor.Running.Find(task => task.Id == id) is { } task && task.Round == release.Round)
            {
                Expect(
                    release.Messages.SequenceEqual(Enumerable.Range(0, task.Stage.Partitions).Select(partition => $"{partition} in {release.Round}")), "barrier",
                    () => $"in round {release.Round} was said: {string.Join(", ", release.Messages)}");
                Reach("barrier met");
                task.Round++;
                At(_random.Between(0, 30), () => Arrive(executor, task));
            }
        }
    }

    private void Stop(SimulatedExecutor executor, StopTasks stop)
    {
        foreach (var id in stop.Attempts)
        {
            var queued = executor.Queue.Find(task => task.Id == id);
            if (queued is not null)
            {
                executor.Queue.Remove(queued);
                Report(executor, new TaskReport(id, new TaskKilled(stop.Reason), TaskMetrics.Empty, default));
            }
            else if (executor.Running.Find(task => task.Id == id) is { } running)
            {
                // Cooperative: some listen, some finish first. Who waits at a barrier listens.
                running.Stopped |= running.Stage.Barrier || _random.Chance(500);
                if (running.Stage.Barrier)
                {
                    At(_random.Between(0, 10), () => Finish(executor, running, 1));
                }
            }
        }
    }

    private void Report(SimulatedExecutor executor, TaskReport report)
    {
        executor.Kept.Add(report);
        if (executor.Connected)
        {
            Send(executor, [report]);
        }
    }

    private void Finish(SimulatedExecutor executor, SimulatedTask task, double took)
    {
        if (!executor.Alive || !executor.Running.Remove(task))
        {
            return;
        }
        Report(executor, Compute(executor, task, took));
        Fill(executor);
    }

    private TaskReport Compute(SimulatedExecutor executor, SimulatedTask task, double took)
    {
        var metrics = new TaskMetrics { RunMicroseconds = (long)(took * 1000) };
        if (task.Stopped)
        {
            return new TaskReport(task.Id, new TaskKilled("stopped"), metrics, default);
        }
        if (_chaos && _random.Chance(20))
        {
            return new TaskReport(task.Id, new TaskFailed(new RemoteError("Chaos", "chaos", "")), metrics, default);
        }
        var stage = task.Stage;
        var sum = Own(stage.Output?.Shuffle.Value ?? -1, task.Partition);
        foreach (var input in task.Inputs)
        {
            foreach (var output in _registry[(input.ShuffleId.Value, input.Epoch)])
            {
                if (!_nodes.TryGetValue(output.NodeId.Value, out var node) || !node.Files.TryGetValue((output.ShuffleId.Value, output.MapPartition, output.AttemptId), out var parts))
                {
                    return new TaskReport(task.Id, new FetchFailed(output.ShuffleId, output.MapPartition, output.AttemptId, output.NodeId, "no such file"), metrics, default);
                }
                sum += parts[task.Partition];
            }
        }
        if (stage.Output is { } write)
        {
            executor.Node.Files[(write.Shuffle.Value, task.Partition, task.Id)] = Split(sum, stage.Indeterminate ? task.Id.Value : task.Partition);
            return new TaskReport(task.Id, TaskSucceeded.Instance, metrics, default)
            {
                MapOutput = new MapOutput(write.Shuffle, task.Partition, task.Id, new NodeId(executor.Node.Name), "", new byte[] { 10 }),
                Cached = [new CachedPartition(write.Shuffle.Value, task.Partition, 1, 0)],
            };
        }
        return new TaskReport(task.Id, TaskSucceeded.Instance, metrics, BitConverter.GetBytes(sum)) { ResultBlock = _random.Chance(100) ? "block" : null };
    }

    /// <summary>An executor ends; sooner or later somebody tells.</summary>
    private void End(SimulatedExecutor executor, ContainerExitCause cause, bool known = false)
    {
        if (!executor.Alive)
        {
            return;
        }
        executor.Alive = false;
        executor.Connected = false;
        _executors.Remove(executor.Name);
        TaskAttemptId[]? running = known || _random.Chance(500) ? [.. executor.Running.Select(task => task.Id)] : null;
        At(_random.Between(0, 2000), () => Apply(new ExecutorLost(new ExecutorId(executor.Name), cause, "it ended") { Running = running }));
        Maintain();
    }

    // ── What goes wrong.

    private void Misfortune()
    {
        var executor = _executors.Count > 0 ? _executors.Values.ElementAt(_random.Between(0, _executors.Count)) : null;
        switch (_random.Between(0, 13))
        {
            case 0 when executor is not null:
                Count("executor killed");
                End(executor, ContainerExitCause.KilledBySignal);
                break;
            case 1 when executor is not null:
                Count("executor preempted");
                End(executor, ContainerExitCause.Preempted);
                break;
            case 2 when executor is { Connected: true }:
                Count("executor disconnected");
                executor.Connected = false;
                At(_random.Between(1, 3000), () => Connect(executor));
                break;
            case 3 when executor is { Connected: true }:
                Count("executor partitioned until it is given up");
                executor.Connected = false;
                At(20_000, () => Connect(executor));
                break;
            case 4 or 8 when _nodes.Count > 1:
                Count("node lost");
                LoseNode(_nodes.Values.ElementAt(_random.Between(0, _nodes.Count)));
                break;
            case 5 or 9 or 10:
                Count("file lost");
                var node = _nodes.Values.ElementAt(_random.Between(0, _nodes.Count));
                if (node.Files.Count > 0)
                {
                    node.Files.Remove(node.Files.Keys.ElementAt(_random.Between(0, node.Files.Count)));
                }
                break;
            case 6 when !_linkDown:
                Count("broker away");
                InterruptLink();
                break;
            case 7 when executor is not null:
                Count("executor drained");
                Apply(new ExecutorDraining(new ExecutorId(executor.Name)));
                At(_random.Between(1000, 6000), () => End(executor, ContainerExitCause.StoppedByOperator));
                break;
            case 11 or 12 when _jobs.Any(static pair => !pair.Value.Ended):
                Apply(new JobCancelRequested(new JobId(_jobs.First(static pair => !pair.Value.Ended).Key), "chaos"));
                break;
            default:
                break;
        }

        void Count(string fault) => Reach(fault);
    }

    private void LoseNode(SimulatedNode node)
    {
        _nodes.Remove(node.Name);
        node.Files.Clear();
        AddNode();
        foreach (var executor in _executors.Values.Where(executor => executor.Node == node).ToArray())
        {
            End(executor, ContainerExitCause.NodeLost);
        }
        At(_random.Between(0, 1500), () => Apply(new NodeWasLost(new NodeId(node.Name), "power")));
    }

    private void InterruptLink()
    {
        _linkDown = true;
        Apply(new LinkInterrupted("broker away"));
        var all = _random.Chance(500);
        if (all)
        {
            foreach (var executor in _executors.Values)
            {
                executor.Connected = false;
            }
        }
        At(_random.Between(10, 30_000), () =>
        {
            _linkDown = false;
            Apply(new LinkRestored(MessagesMayBeLost: true));
            foreach (var executor in _executors.Values)
            {
                At(_random.Between(0, 500), () => Connect(executor));
            }
        });
    }

    private sealed record Template(int Shuffle, int Partitions, int[] Reads, bool Indeterminate, bool Barrier);

    private sealed record Plan(Template[] Maps, int[] Inputs, int Partitions, int Pool);

    private sealed class JobRun(Plan plan)
    {
        public Plan Plan { get; } = plan;

        public SortedDictionary<int, long> Results { get; } = [];

        /// <summary>The partition that kills executors, -1 for none, and how often it still does.</summary>
        public int Poisoned { get; init; }

        public int Poison { get; set; }

        public int ResultStage { get; set; }

        public bool Ended { get; set; }

        public bool Succeeded { get; set; }
    }

    private sealed class SimulatedNode(string name)
    {
        public string Name { get; } = name;

        public SortedDictionary<(int Shuffle, int Map, TaskAttemptId Attempt), long[]> Files { get; } = [];
    }

    private sealed class SimulatedExecutor(string name, SimulatedNode node, int slots)
    {
        public string Name { get; } = name;

        public SimulatedNode Node { get; } = node;

        public int Slots { get; } = slots;

        public int Epoch { get; set; }

        public bool Alive { get; set; } = true;

        public bool Connected { get; set; }

        public long LastArrival { get; set; }

        public List<SimulatedTask> Queue { get; } = [];

        public List<SimulatedTask> Running { get; } = [];

        public HashSet<TaskAttemptId> Seen { get; } = [];

        /// <summary>Reports that nobody confirmed.</summary>
        public List<TaskReport> Kept { get; } = [];

        public ExecutorAddress Address => new(new ExecutorId(Name), Epoch);
    }

    private sealed record SimulatedTask(
        TaskAttemptId Id, StageDefinition Stage, int StageId, int Partition, IReadOnlyList<ShuffleInput> Inputs, SimulatedNode Node)
    {
        /// <summary>Barriers that a task of a barrier stage passes.</summary>
        public const int Rounds = 2;

        public int Round { get; set; }

        public bool Stopped { get; set; }
    }
}

/// <summary>Something that must never be, was.</summary>
internal sealed class JobViolation(string message) : Exception(message);
