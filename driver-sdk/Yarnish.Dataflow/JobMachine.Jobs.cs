namespace Yarnish.Dataflow;

/// <summary>Jobs: submitted, ended, and what they leave.</summary>
internal sealed partial class JobMachine
{
    private int _lastJob = -1;
    private int _jobsSucceeded;
    private int _jobsFailed;

    private void OnJobSubmitted(JobSubmitted submitted)
    {
        var (id, definition) = submitted;
        if (id.Value <= _lastJob)
        {
            // Said twice.
            return;
        }
        _lastJob = id.Value;
        if (FindMistake(definition) is { } mistake)
        {
            _jobsFailed++;
            Emit(new JobFailed(id, new JobFailure(JobFailureReason.InvalidJob, mistake)));
            return;
        }
        var result = definition.Stages[^1];
        if ((definition.Partitions?.Count ?? result.Partitions) == 0)
        {
            _jobsSucceeded++;
            Emit(new JobSucceeded(id));
            return;
        }
        var job = new Job(id, definition, _now);
        _jobs.Add(id.Value, job);
        var pool = FindPool(definition);
        foreach (var stage in definition.Stages)
        {
            job.Stages.Add(AddStage(job, stage, pool));
        }
        Emit(new JobStarted(id, definition, [.. job.Stages.Select(static stage => stage.Id)]));
        MarkWanted(job);
        _ready.Push(job.Result);
    }

    private void OnJobCancelRequested(JobCancelRequested cancel)
    {
        if (_jobs.TryGetValue(cancel.JobId.Value, out var job))
        {
            EndJob(job, JobState.Cancelled, cancel.Reason, cancel.Reason);
            Emit(new JobCancelled(job.Id, cancel.Reason));
        }
    }

    private void OnResultHandlerFailed(ResultHandlerFailed failed)
    {
        if (_jobs.TryGetValue(failed.JobId.Value, out var job))
        {
            var message = $"The caller's own code threw {failed.Error.Type} on the result of partition {failed.Partition}: {failed.Error.Message}";
            FailJob(job, new JobFailure(JobFailureReason.ResultHandlerFailed, message)
            {
                StageId = job.Result.Id,
                StageName = job.Result.Definition.Name,
                Partition = failed.Partition,
                Error = failed.Error,
            });
        }
    }

    /// <summary>Fails every job that needs the stage.</summary>
    private void FailStage(Stage stage, JobFailure failure)
    {
        if (stage.State is StageState.Running or StageState.Repeating)
        {
            LeaveActive(stage);
            if (stage.State == StageState.Running)
            {
                Emit(new StageEnded(stage.Id, stage.Attempt, StageOutcome.Failed, failure.Message));
            }
            stage.State = StageState.Idle;
        }
        failure = failure with { StageId = stage.Id, StageName = stage.Definition.Name };
        foreach (var (job, _) in stage.Users.ToArray())
        {
            FailJob(job, failure);
        }
    }

    private void FailJob(Job job, JobFailure failure)
    {
        if (!job.Ended)
        {
            EndJob(job, JobState.Failed, failure.Message, "its job failed");
            Emit(new JobFailed(job.Id, failure));
        }
    }

    private void SucceedJob(Job job)
    {
        EndJob(job, JobState.Succeeded, "", "its job has all results");
        Emit(new JobSucceeded(job.Id));
    }

    private void EndJob(Job job, JobState state, string message, string why)
    {
        job.Ended = true;
        Remember(job, state, message);
        _jobs.Remove(job.Id.Value);
        if (state == JobState.Succeeded)
        {
            _jobsSucceeded++;
        }
        else
        {
            _jobsFailed++;
        }
        foreach (var stage in job.Stages)
        {
            stage.Users.RemoveAll(user => user.Job == job);
            if (stage.Dropped)
            {
                DropStage(stage, why);
            }
            else
            {
                stage.Definition = stage.Users[0].Definition;
                if (stage.IsRunnable)
                {
                    // Its place in the pool follows its first job.
                    stage.Pool.Remove(stage);
                    stage.Pool.Add(stage);
                }
            }
        }
        foreach (var stage in job.Stages)
        {
            if (stage.Dropped && stage.Output is { Released: true } shuffle)
            {
                DropIfUnused(shuffle);
            }
        }
        ForgetLate();
    }

    private void OnShuffleReleased(ShuffleReleased released)
    {
        if (_shuffles.TryGetValue(released.ShuffleId.Value, out var shuffle))
        {
            shuffle.Released = true;
            DropIfUnused(shuffle);
        }
    }

    private void DropIfUnused(Shuffle shuffle)
    {
        // A stopped attempt that has not reported yet would leave its file behind.
        if (_options.Planted != PlantedJobBug.LeakedShuffle && shuffle is { Released: true, Producer: null, Writers: 0, Consumers.Count: 0 } && _shuffles.Remove(shuffle.Id.Value))
        {
            Emit(new DropShuffle(shuffle.Id));
        }
    }

    private Pool FindPool(JobDefinition definition)
    {
        var pool = _pools.Find(pool => pool.Name == definition.Pool);
        if (pool is null)
        {
            pool = new Pool(definition.Pool);
            _pools.Add(pool);
        }
        pool.Weight = Math.Max(1, definition.PoolWeight);
        pool.MinimumShare = Math.Max(0, definition.PoolMinimumShare);
        return pool;
    }

    private static void MarkWanted(Job job)
    {
        var result = job.Result;
        result.EnsureMarks();
        if (job.Definition.Partitions is { } partitions)
        {
            foreach (var partition in partitions)
            {
                result.Marks[partition] |= TaskMarks.Wanted;
            }
            result.Wanted = partitions.Count;
        }
        else
        {
            Array.Fill(result.Marks, TaskMarks.Wanted);
            result.Wanted = result.Partitions;
        }
    }

    /// <summary>What is wrong with a definition, for the developer of the program that built it; null when nothing is.</summary>
    private string? FindMistake(JobDefinition definition)
    {
        if (definition.Stages.Count == 0)
        {
            return "The job has no stages.";
        }
        var outputs = new Dictionary<int, int>();
        for (var i = 0; i < definition.Stages.Count; i++)
        {
            var stage = definition.Stages[i];
            var last = i == definition.Stages.Count - 1;
            if (stage.Partitions < 0)
            {
                return $"Stage {i} '{stage.Name}' has {stage.Partitions} partitions.";
            }
            if (stage.PreferredNodes is { } preferred && preferred.Count != stage.Partitions)
            {
                return $"Stage {i} '{stage.Name}' has {stage.Partitions} partitions but preferred nodes for {preferred.Count}.";
            }
            foreach (var input in stage.Inputs)
            {
                if (!outputs.ContainsKey(input.Value))
                {
                    return $"Stage {i} '{stage.Name}' reads shuffle {input}, which no earlier stage of the job writes.";
                }
            }
            if (last != stage.Output is null)
            {
                return last ? $"The last stage '{stage.Name}' writes a shuffle instead of a result." : $"Stage {i} '{stage.Name}' writes no shuffle and is not the last.";
            }
            if (stage.Output is { } output)
            {
                if (!outputs.TryAdd(output.Shuffle.Value, i))
                {
                    return $"Two stages write shuffle {output.Shuffle}.";
                }
                if (_shuffles.TryGetValue(output.Shuffle.Value, out var known) && (known.Maps != stage.Partitions || known.Reducers != output.Reducers))
                {
                    return $"Shuffle {output.Shuffle} has {known.Maps} map tasks and {known.Reducers} reducers already; the job says {stage.Partitions} and {output.Reducers}.";
                }
            }
        }
        if (definition.Partitions is { } partitions)
        {
            var count = definition.Stages[^1].Partitions;
            var seen = new HashSet<int>();
            foreach (var partition in partitions)
            {
                if ((uint)partition >= (uint)count)
                {
                    return $"Partition {partition} is wanted of {count}.";
                }
                if (!seen.Add(partition))
                {
                    return $"Partition {partition} is wanted twice.";
                }
            }
        }
        return null;
    }
}
