namespace Yarnish.Dataflow;

/// <summary>What must always hold. Called by tests after every event, too dear for production.</summary>
internal sealed partial class JobMachine
{
    /// <summary>Throws when anything of an ended job is left. Executors may still be held.</summary>
    /// <exception cref="InvalidOperationException">Something is left; the message says what.</exception>
    public void AssertEmpty()
    {
        var left = Leftovers();
        Require(left.Count == 0, $"there are left: {string.Join(", ", left)}");
        AssertConsistent();
    }

    /// <summary>What ended jobs have left, in words; empty when nothing. While jobs run, theirs is in it too. Executors, and what is persisted on them, are no leftovers.</summary>
    public IReadOnlyList<string> Leftovers()
    {
        var left = new List<string>();
        Count(_jobs.Count, "jobs");
        Count(_shuffles.Count, "shuffles");
        Count(_attempts.Count, "attempts");
        Count(_late.Count, "late attempts");
        Count(_fetching.Count, "results being fetched");
        Count(_ready.Count, "stages to submit");
        Count(_repeating.Count, "stages to repeat");
        Count(_active.Count, "active stages");
        Count(_pools.Count, "pools");
        Count(_pending, "pending tasks");
        Count(_executors.Sum(static executor => executor.InFlight), "attempts on executors");
        return left;

        void Count(int count, string what)
        {
            if (count != 0)
            {
                left.Add($"{count} {what}");
            }
        }
    }

    /// <summary>Throws when the state contradicts itself, or when something waits that nothing will ever wake.</summary>
    /// <exception cref="InvalidOperationException">It does; the message says where.</exception>
    public void AssertConsistent()
    {
        Require(_ready.Count == 0, "stages to submit were left at the end of an event");
        Require(_repeating.Count > 0 == _resubmitAt < Never, "a resubmission without stages, or stages without one");
        Require(_pending == _active.Sum(static stage => stage.Pending), "the pending tasks are miscounted");
        var live = CountAttempts();
        foreach (var executor in _executors)
        {
            Require(executor.Copies == _copies.UnderWay.Count(pair => pair.Value.Target == executor), $"the copies {executor.Id} makes are miscounted");
            Require(
                executor.CachedPartitions == _holders.Collections.Sum(collection => collection.Partitions.Count(holders => holders.First == executor || holders.Second == executor)),
                $"the persisted partitions of {executor.Id} are miscounted");
        }
        foreach (var node in _nodes.Values)
        {
            Require(node.CachedFiles == _holders.FilesOf(node).Count, $"the persisted files of node {node.Id} are miscounted");
        }
        foreach (var shuffle in _shuffles.Values)
        {
            Require(shuffle.Available == shuffle.Outputs.Count(static output => output is not null), $"the outputs of shuffle {shuffle.Id} are miscounted");
            Require(!shuffle.Complete || shuffle.Available == shuffle.Maps, $"shuffle {shuffle.Id} is called complete and is not");
        }
        foreach (var stage in _jobs.Values.SelectMany(static job => job.Stages).Distinct())
        {
            Check(stage, live);
        }
    }

    private Dictionary<(Stage Stage, int Partition), int> CountAttempts()
    {
        var live = new Dictionary<(Stage Stage, int Partition), int>();
        var total = 0;
        foreach (var executor in _executors)
        {
            var (inFlight, longInFlight) = (0, 0);
            for (var slot = executor.FirstAttempt; slot >= 0; slot = _attempts[slot].NextOnExecutor)
            {
                inFlight++;
                longInFlight += (_attempts[slot].Marks & AttemptMarks.Long) != 0 ? 1 : 0;
                Note(_attempts[slot]);
            }
            Require(executor.InFlight == inFlight && executor.LongInFlight == longInFlight, $"the attempts on {executor.Id} are miscounted");
            total += inFlight;
        }
        Require(total == _attempts.Count, "there are attempts on executors that are gone");
        foreach (var (attempt, _) in _fetching.Values)
        {
            Note(attempt);
        }
        return live;

        void Note(in Attempt attempt)
        {
            if ((attempt.Marks & AttemptMarks.Superseded) == 0 && attempt.StageAttempt == attempt.Stage.Attempt)
            {
                var key = (attempt.Stage, attempt.Partition);
                live[key] = live.GetValueOrDefault(key) + 1;
            }
        }
    }

    private void Check(Stage stage, Dictionary<(Stage Stage, int Partition), int> live)
    {
        var name = $"stage {stage.Id} ({stage.State})";
        Require(_active.Contains(stage) == (stage.State == StageState.Running), $"{name} is active and not running, or the other way round");
        Require(_repeating.Contains(stage) == (stage.State == StageState.Repeating), $"{name} is in the list of repeating stages and not so, or the other way round");
        switch (stage.State)
        {
            case StageState.Running:
                var pending = 0;
                for (var partition = 0; partition < stage.Partitions; partition++)
                {
                    var isPending = (stage.Marks[partition] & TaskMarks.Pending) != 0;
                    var attempts = live.GetValueOrDefault((stage, partition));
                    pending += isPending ? 1 : 0;
                    Require(stage.Live[partition] == attempts, $"the attempts of task {partition} of {name} are miscounted: {stage.Live[partition]} for {attempts}");
                    Require(!isPending || !stage.IsDone(partition), $"task {partition} of {name} is done and waits");
                    Require(
                        !stage.IsWanted(partition) || stage.IsDone(partition) || isPending || attempts > 0, $"task {partition} of {name} neither waits nor runs: it is forgotten");
                }
                Require(stage.Pending == pending, $"the waiting tasks of {name} are miscounted");
                Require(pending == 0 || stage.IsRunnable, $"{name} has waiting tasks and is in no queue");
                break;
            case StageState.Waiting:
                var missing = stage.Inputs.Where(static input => !input.Complete).ToArray();
                Require(missing.Length > 0, $"{name} waits for nothing");
                foreach (var input in missing)
                {
                    Require(
                        input.Producer is { State: StageState.Waiting or StageState.Running or StageState.Repeating },
                        $"{name} waits for shuffle {input.Id}, which nobody computes");
                }
                break;
            case StageState.Done:
                Require(stage.Output is null or { Complete: true }, $"{name} is done and its output incomplete");
                break;
        }
    }

    private static void Require(bool holds, string otherwise)
    {
        if (!holds)
        {
            throw new InvalidOperationException($"The job machine contradicts itself: {otherwise}.");
        }
    }
}
