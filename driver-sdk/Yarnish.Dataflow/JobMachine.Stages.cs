using System.Collections.Immutable;
using Yarnish.Protocol;

namespace Yarnish.Dataflow;

/// <summary>Stages: submitted when their inputs are there, repeated when those are lost, rolled back when they cannot be computed again alike.</summary>
internal sealed partial class JobMachine
{
    private const int ReduceLocalityLimit = 1000;
    private static readonly long[] SizeOfClass = [.. Enumerable.Range(0, 256).Select(size => SizeClasses.ToBytes((byte)size))];

    /// <summary>Stages to look at: submit them, or their missing parents, before <c>Apply</c> returns. A stack of our own: lineages are ten thousand deep.</summary>
    private readonly Stack<Stage> _ready = [];

    /// <summary>Stages in state Repeating, submitted again at <see cref="_resubmitAt"/>.</summary>
    private readonly List<Stage> _repeating = [];

    /// <summary>Stages in state Running, in the order in which they started.</summary>
    private readonly List<Stage> _active = [];

    private long _resubmitAt = Never;
    private int _stagesSucceeded;
    private int _stagesStarted;

    private Stage AddStage(Job job, StageDefinition definition, Pool pool)
    {
        Stage stage;
        if (definition.Output is { } output)
        {
            if (!_shuffles.TryGetValue(output.Shuffle.Value, out var shuffle))
            {
                shuffle = new Shuffle(output.Shuffle, definition.Partitions, output.Reducers);
                _shuffles.Add(output.Shuffle.Value, shuffle);
            }
            shuffle.Indeterminate |= definition.Indeterminate;
            if (shuffle.Producer is { } producer)
            {
                producer.Users.Add((job, definition));
                return producer;
            }
            stage = new Stage(new StageId(_nextStage++), definition, pool) { Output = shuffle, Wanted = definition.Partitions };
            stage.State = shuffle.Complete ? StageState.Done : StageState.Idle;
            shuffle.Producer = stage;
        }
        else
        {
            stage = new Stage(new StageId(_nextStage++), definition, pool);
        }
        pool.Stages++;
        stage.Users.Add((job, definition));
        stage.Inputs = [.. definition.Inputs.Select(input => _shuffles[input.Value])];
        foreach (var input in stage.Inputs)
        {
            input.Consumers.Add(stage);
        }
        return stage;
    }

    /// <summary>Submits what can be: a stage whose inputs are complete starts, otherwise its missing parents are looked at.</summary>
    private void SubmitReady()
    {
        while (_ready.TryPop(out var stage))
        {
            if (stage.Dropped || stage.State is not (StageState.Idle or StageState.Waiting))
            {
                continue;
            }
            var missing = false;
            foreach (var input in stage.Inputs)
            {
                if (!input.Complete)
                {
                    missing = true;
                    if (input.Producer is { State: StageState.Idle } producer)
                    {
                        _ready.Push(producer);
                    }
                }
            }
            if (missing)
            {
                stage.State = StageState.Waiting;
            }
            else
            {
                StartStage(stage);
            }
        }
    }

    private void StartStage(Stage stage)
    {
        var generations = Array.ConvertAll(stage.Inputs, static input => (input.Id, input.Generation));
        if (stage.Output is { } output)
        {
            // Part of an output that cannot be written again alike is worthless, and so is what was computed from it; so is part of one whose other part would now be
            // computed from other input.
            if (output is { Indeterminate: true, MayHaveBeenRead: true } || (output.Available > 0 && !output.ComputedFrom.AsSpan().SequenceEqual(generations)))
            {
                RollBack(output);
                if (stage.Dropped)
                {
                    return;
                }
            }
            output.ComputedFrom = generations;
        }
        if (FailIfTooWide(stage))
        {
            return;
        }
        if (stage.Definition.Barrier && _options.Planted != PlantedJobBug.HalfBarrierOutput)
        {
            ForgetAllOutputs(stage);
        }
        stage.Attempt++;
        _stagesStarted++;
        stage.State = StageState.Running;
        stage.BeginAttempt();
        stage.InputEpochs = [.. stage.Inputs.Select(input => new ShuffleInput(input.Id, input.Epoch)).Distinct()];
        stage.LastNearSent = _now;
        stage.BarrierSince = 0;
        if (stage.Attempt == 0)
        {
            stage.StartedAt = _now;
        }
        stage.EndedAt = 0;
        stage.InputNodes = FindInputNodes(stage);
        _active.Add(stage);
        if (_options.Speculation && _speculateAt == Never)
        {
            _speculateAt = _now + _options.SpeculationMinimum.Ticks;
        }
        Emit(new StageStarted(stage.Id, stage.Attempt, stage.Users[0].Job.Id, stage.Definition, stage.Wanted - stage.Done));
        if (stage.AllDone)
        {
            CompleteStage(stage);
            return;
        }
        stage.Anywhere.EnsureCapacity(Math.Min(stage.Wanted - stage.Done, 1 << 20));
        for (var partition = 0; partition < stage.Partitions; partition++)
        {
            if (stage.IsWanted(partition) && !stage.IsDone(partition))
            {
                Enqueue(stage, partition, first: false);
            }
        }
    }

    /// <summary>The last partition is there.</summary>
    private void CompleteStage(Stage stage)
    {
        if (stage.State == StageState.Running)
        {
            LeaveActive(stage);
            Emit(new StageEnded(stage.Id, stage.Attempt, StageOutcome.Succeeded, ""));
        }
        else
        {
            LeaveRepeating(stage);
        }
        stage.State = StageState.Done;
        stage.EndedAt = _now;
        stage.FailedAttempts = 0;
        stage.FetchFailures.Clear();
        _stagesSucceeded++;
        CountExclusions(stage);
        stage.FreeAttempt();
        StopAttempts(stage, "its stage is complete", except: -1);
        if (stage.Output is { } shuffle)
        {
            shuffle.Complete = true;
            shuffle.MayHaveBeenRead = true;
            shuffle.Epoch++;
            shuffle.Published = ImmutableArray.Create((MapOutput[])shuffle.Outputs!);
            Emit(new PublishLocations(shuffle.Id, shuffle.Epoch, shuffle.Published) { Reducers = shuffle.Reducers });
            foreach (var consumer in shuffle.Consumers)
            {
                if (consumer.State == StageState.Waiting)
                {
                    _ready.Push(consumer);
                }
            }
        }
        else
        {
            SucceedJob(stage.Users[0].Job);
        }
    }

    /// <summary>Its input is lost: nothing more of this attempt is sent, what runs may still succeed, and all of it is submitted again in a moment.</summary>
    /// <param name="stage">A running stage.</param>
    /// <param name="counts">Whether it counts towards the attempts after which the stage is given up.</param>
    /// <param name="last">The report that told; null when none did.</param>
    /// <param name="message">For people.</param>
    /// <param name="partition">The task whose end it was; null when no task's.</param>
    /// <param name="executor">Where that task ran.</param>
    private void Repeat(Stage stage, bool counts, TaskEnd? last, string message, int? partition = null, ExecutorId? executor = null)
    {
        if (stage.State != StageState.Running)
        {
            return;
        }
        if (counts && ++stage.FailedAttempts >= _options.StageAttemptLimit)
        {
            FailStage(stage, new JobFailure(
                JobFailureReason.StageFailed,
                $"Stage {stage.Id} '{stage.Definition.Name}' had to be repeated {stage.FailedAttempts} times in a row without success. The last time: {message}")
            {
                Attempts = stage.FailedAttempts,
                Partition = partition,
                ExecutorId = executor,
                LastEnd = last,
            });
            return;
        }
        LeaveActive(stage);
        stage.State = StageState.Repeating;
        stage.ClearPending();
        Emit(new StageEnded(stage.Id, stage.Attempt, StageOutcome.Repeated, message));
        _repeating.Add(stage);
        _resubmitAt = Math.Min(_resubmitAt, _now + _options.ResubmitDelay.Ticks);
    }

    private void Resubmit()
    {
        if (_now < _resubmitAt)
        {
            return;
        }
        _resubmitAt = Never;
        _repeating.Sort(static (a, b) => b.Id.CompareTo(a.Id));
        foreach (var stage in _repeating)
        {
            stage.State = StageState.Idle;
            _ready.Push(stage);
        }
        _repeating.Clear();
    }

    /// <summary>Takes a stage out of everything that hands out its tasks.</summary>
    private void LeaveActive(Stage stage)
    {
        _active.Remove(stage);
        LeaveRepeating(stage);
        _pending -= stage.Pending;
        stage.Pool.Remove(stage);
    }

    private void LeaveRepeating(Stage stage)
    {
        if (_repeating.Remove(stage) && _repeating.Count == 0)
        {
            _resubmitAt = Never;
        }
    }

    /// <summary>No job names it any more.</summary>
    private void DropStage(Stage stage, string why)
    {
        if (stage.State is StageState.Running or StageState.Repeating)
        {
            LeaveActive(stage);
            if (stage.State == StageState.Running)
            {
                Emit(new StageEnded(stage.Id, stage.Attempt, StageOutcome.Cancelled, why));
            }
        }
        Remember(stage);
        StopAttempts(stage, why, except: -1);
        stage.State = StageState.Idle;
        stage.FreeAttempt();
        foreach (var input in stage.Inputs)
        {
            input.Consumers.Remove(stage);
            if (input.Released)
            {
                DropIfUnused(input);
            }
        }
        if (stage.Output is { } shuffle)
        {
            shuffle.Producer = null;
        }
        if (--stage.Pool.Stages == 0)
        {
            _pools.Remove(stage.Pool);
        }
    }

    // ── Lost map output.

    /// <summary>Forgets one output. What this means for stages is the caller's next step: <see cref="AfterLoss"/>.</summary>
    private void ForgetOutput(Shuffle shuffle, int partition)
    {
        shuffle.Outputs[partition] = null;
        shuffle.Available--;
        shuffle.Complete = false;
        shuffle.Published = [];
        if (shuffle.Producer is { } producer)
        {
            if (producer.State == StageState.Done)
            {
                producer.State = StageState.Idle;
            }
            else if (producer is { State: StageState.Running, Definition.Barrier: false } && producer.Live[partition] == 0)
            {
                Enqueue(producer, partition, first: true);
            }
        }
    }

    /// <summary>Stages that read a shuffle that is no longer complete cannot go on; those that wait for it look again for what to submit.</summary>
    private void AfterLoss(Shuffle shuffle, Stage? culprit, TaskEnd? last, string message)
    {
        var rollBack = shuffle is { Indeterminate: true, MayHaveBeenRead: true }
            && shuffle.Consumers.Exists(static consumer => consumer.State is not (StageState.Done or StageState.Idle));
        foreach (var consumer in shuffle.Consumers.ToArray())
        {
            if (consumer is { State: StageState.Running, Definition.Barrier: true })
            {
                RepeatBarrier(consumer, consumer == culprit, last, message);
            }
            else if (consumer.State == StageState.Running)
            {
                Repeat(consumer, consumer == culprit, last, message);
            }
            else if (consumer.State == StageState.Waiting)
            {
                _ready.Push(consumer);
            }
        }
        if (rollBack)
        {
            RollBack(shuffle);
        }
        if (shuffle.Producer is { State: StageState.Running, Definition.Barrier: true } barrier)
        {
            RepeatWhole(barrier, counts: false, null, message);
        }
    }

    /// <summary>
    /// Throws away an output that cannot be computed again alike, and everything that was computed from it; a job that has handed out results computed from it fails.
    /// </summary>
    private void RollBack(Shuffle origin)
    {
        if (_options.Planted == PlantedJobBug.NoRollBack)
        {
            return;
        }
        var message = $"shuffle {origin.Id} cannot be written again alike, so what was computed from it is computed again";
        List<Shuffle> reached = [origin];
        List<Stage> consumers = [];
        HashSet<object> seen = [origin];
        for (var i = 0; i < reached.Count; i++)
        {
            foreach (var consumer in reached[i].Consumers)
            {
                if (seen.Add(consumer))
                {
                    consumers.Add(consumer);
                    if (consumer.Output is { } next && seen.Add(next))
                    {
                        reached.Add(next);
                    }
                }
            }
        }
        foreach (var stage in consumers)
        {
            if (stage is { Dropped: false, Output: null, ResultsDone: > 0 })
            {
                FailJob(stage.Users[0].Job, new JobFailure(
                    JobFailureReason.NotRepeatable,
                    $"Shuffle {origin.Id} was lost in part. Its rows depend on the order in which its input arrives, so it cannot be written again alike, and {stage.ResultsDone} results "
                    + "computed from it have been handed out already. Checkpoint or sort before the repartitioning, or run the job again.")
                {
                    StageId = stage.Id,
                    StageName = stage.Definition.Name,
                });
            }
        }
        foreach (var shuffle in reached)
        {
            shuffle.MayHaveBeenRead = false;
            shuffle.Generation++;
            for (var partition = 0; partition < shuffle.Maps; partition++)
            {
                if (shuffle.Outputs[partition] is not null)
                {
                    ForgetOutput(shuffle, partition);
                }
            }
            if (shuffle.Producer is { } producer)
            {
                StopAttempts(producer, message, except: -1);
                if (producer is { State: StageState.Running, Definition.Barrier: true })
                {
                    Repeat(producer, counts: false, null, message);
                }
                RequeueAll(producer);
            }
        }
        foreach (var stage in consumers)
        {
            if (!stage.Dropped)
            {
                StopAttempts(stage, message, except: -1);
                Repeat(stage, counts: false, null, message);
                if (stage.State == StageState.Waiting)
                {
                    _ready.Push(stage);
                }
            }
        }
    }

    /// <summary>After its attempts were stopped: everything missing waits again.</summary>
    private void RequeueAll(Stage stage)
    {
        if (stage.State == StageState.Running)
        {
            for (var partition = 0; partition < stage.Partitions; partition++)
            {
                if (stage.IsWanted(partition) && !stage.IsDone(partition) && stage.Live[partition] == 0)
                {
                    Enqueue(stage, partition, first: false);
                }
            }
        }
    }

    private void OnLocationsMissing(LocationsMissing missing)
    {
        if (_shuffles.TryGetValue(missing.ShuffleId.Value, out var shuffle) && shuffle.Complete)
        {
            Emit(new PublishLocations(shuffle.Id, shuffle.Epoch, shuffle.Published) { Reducers = shuffle.Reducers, AnswerTo = missing.Address });
        }
    }

    /// <summary>The node that holds at least a fifth of what each partition reads, when it is cheap to tell: after Spark's reduce locality. Also notes who holds much of all of it.</summary>
    private Node?[]? FindInputNodes(Stage stage)
    {
        stage.HeavyNodes = [];
        // Whoever asks for executors likes to know even of a single node.
        if (stage.Inputs.Length == 0 || _nodes.Count < (_options.Allocation is { Dynamic: true } ? 1 : 2) || stage.Partitions >= ReduceLocalityLimit)
        {
            return null;
        }
        foreach (var input in stage.Inputs)
        {
            if (input.Maps >= ReduceLocalityLimit || input.Reducers != stage.Partitions)
            {
                return null;
            }
        }
        var nodes = _nodes.Values.ToArray();
        var indexes = new Dictionary<string, int>(nodes.Length);
        for (var i = 0; i < nodes.Length; i++)
        {
            indexes.Add(nodes[i].Id.Value, i);
        }
        var sizes = new long[nodes.Length * stage.Partitions];
        var totals = new long[stage.Partitions];
        foreach (var input in stage.Inputs)
        {
            foreach (var output in input.Published)
            {
                var classes = output.SizeClasses.Span;
                var at = indexes.TryGetValue(output.NodeId.Value, out var node) ? node * stage.Partitions : -1;
                for (var partition = 0; partition < stage.Partitions && classes.Length > 0; partition++)
                {
                    var size = SizeOfClass[classes[Math.Min(partition, classes.Length - 1)]];
                    totals[partition] += size;
                    if (at >= 0)
                    {
                        sizes[at + partition] += size;
                    }
                }
            }
        }
        var all = totals.Sum();
        stage.HeavyNodes = [.. nodes.Where((_, i) => all > 0 && sizes.AsSpan(i * stage.Partitions, stage.Partitions).ToArray().Sum() >= all / 5)];
        if (nodes.Count(static node => node.Executors.Count > 0) < 2)
        {
            return null;
        }
        var found = new Node?[stage.Partitions];
        for (var partition = 0; partition < stage.Partitions; partition++)
        {
            long most = 0;
            for (var i = 0; i < nodes.Length; i++)
            {
                var size = sizes[(i * stage.Partitions) + partition];
                if (size > most && size >= totals[partition] / 5 && nodes[i].Executors.Count > 0)
                {
                    most = size;
                    found[partition] = nodes[i];
                }
            }
        }
        return found;
    }
}
