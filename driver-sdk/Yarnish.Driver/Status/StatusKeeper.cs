using System.Diagnostics;
using System.Threading.Channels;
using Yarnish.Dataflow;
using Yarnish.Protocol;

namespace Yarnish.Status;

/// <summary>
/// The one owner of an <see cref="ApplicationStatus"/>: takes events from the driver loop, which it never holds up, folds them, and hands each to the event log. When more task
/// ends come than it can look at, they are only counted; that is told in the status.
/// </summary>
internal sealed class StatusKeeper : IAsyncDisposable
{
    /// <summary>Events that may wait.</summary>
    private const int MaximumEvents = 65_536;

    /// <summary>Task attempts in waiting events; beyond it ends are counted, not looked at.</summary>
    private const int MaximumTasks = 100_000;

    /// <summary>So many tasks waiting end the pause.</summary>
    private const int ManyTasks = 4_096;

    /// <summary>Between two rounds: events are folded together, and the driver loop wakes nobody.</summary>
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Channel<object> inbox = Channel.CreateBounded<object>(new BoundedChannelOptions(MaximumEvents) { SingleReader = true });
    private readonly ApplicationStatus status = new();
    private readonly TimeProvider clock;
    private readonly IStatusLog? log;
    private readonly Action<StageInfo>? stageEnded;
    private readonly Task loop;

    private readonly SortedDictionary<(int Stage, int Attempt), long[]> uncounted = [];
    private long lost;
    private int waitingTasks;
    private TaskCompletionSource urgent = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <param name="log">Gets every event; null: none is kept.</param>
    /// <param name="clock">Paces the rounds.</param>
    /// <param name="stageEnded">Told of each stage attempt that ended, on the keeper's own task.</param>
    public StatusKeeper(IStatusLog? log, TimeProvider clock, Action<StageInfo>? stageEnded = null)
    {
        this.log = log;
        this.clock = clock;
        this.stageEnded = stageEnded;
        using (ExecutionContext.SuppressFlow())
        {
            loop = Task.Run(LoopAsync);
        }
    }

    /// <summary>Takes an event; never blocks, never throws. From one thread at a time: the driver loop.</summary>
    public void Post(StatusEvent happened)
    {
        var tasks = happened switch
        {
            StatusEvent.TasksEnded ended => ended.Tasks.Length,
            StatusEvent.TasksSent sent => sent.Tasks.Count,
            _ => 0,
        };
        if (tasks > 0)
        {
            if (Volatile.Read(ref waitingTasks) + tasks > MaximumTasks)
            {
                Count(happened);
                return;
            }
            if (Interlocked.Add(ref waitingTasks, tasks) >= ManyTasks)
            {
                Hurry();
            }
        }
        TellCounted(happened.At);
        if (!inbox.Writer.TryWrite(happened))
        {
            Interlocked.Add(ref waitingTasks, -tasks);
            lost++;
            Hurry();
        }
    }

    /// <summary>Asks the status something, from any thread; the answer holds everything posted before.</summary>
    /// <typeparam name="T">Of the answer: immutable, since the status goes on.</typeparam>
    public async Task<T> AskAsync<T>(Func<ApplicationStatus, T> read, CancellationToken cancellation)
    {
        var question = new Question<T>(read);
        await inbox.Writer.WriteAsync(question, cancellation).ConfigureAwait(false);
        Hurry();
        return await question.Answer.WaitAsync(cancellation).ConfigureAwait(false);
    }

    /// <summary>Folds what is left, and closes the log.</summary>
    public async ValueTask DisposeAsync()
    {
        inbox.Writer.TryComplete();
        Hurry();
        await loop.ConfigureAwait(false);
        if (log is not null)
        {
            await log.DisposeAsync().ConfigureAwait(false);
        }
    }

    /// <summary>Too many to look at: how they ended is kept, the rest is not.</summary>
    private void Count(StatusEvent happened)
    {
        if (happened is StatusEvent.TasksEnded ended)
        {
            foreach (ref readonly var task in ended.Tasks.AsSpan())
            {
                var key = (task.StageId.Value, task.StageAttempt);
                if (!uncounted.TryGetValue(key, out var counts))
                {
                    uncounted.Add(key, counts = new long[4]);
                }
                counts[(int)StatusStage.GroupOf(task)]++;
            }
        }
    }

    private void TellCounted(DateTimeOffset at)
    {
        while (uncounted.Count > 0)
        {
            var (key, counts) = uncounted.First();
            if (!inbox.Writer.TryWrite(new StatusEvent.TasksCounted(at, new StageId(key.Stage), key.Attempt, counts[0], counts[1], counts[2], counts[3])))
            {
                return;
            }
            uncounted.Remove(key);
        }
        if (lost > 0 && inbox.Writer.TryWrite(new StatusEvent.EventsLost(at, lost)))
        {
            lost = 0;
        }
    }

    private void Hurry() => Volatile.Read(ref urgent).TrySetResult();

    private async Task LoopAsync()
    {
        var reader = inbox.Reader;
        while (await reader.WaitToReadAsync().ConfigureAwait(false))
        {
            while (reader.TryRead(out var message))
            {
                try
                {
                    Take(message);
                }
                catch (Exception error)
                {
                    // A mistake of ours may cost a line of the status, never a job.
                    Trace.TraceError("Yarnish: the status could not take {0}: {1}", message.GetType().Name, error);
                    status.Apply(new StatusEvent.EventsLost(clock.GetUtcNow(), 1));
                }
            }
            if (reader.Completion.IsCompleted)
            {
                break;
            }
            log?.Tick(idle: false);
            await Task.WhenAny(urgent.Task, Task.Delay(Pause, clock)).ConfigureAwait(false);
            if (urgent.Task.IsCompleted)
            {
                // Before the inbox is read: who hurries from now on has written what the old signal does not cover.
                Volatile.Write(ref urgent, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));
            }
            if (!reader.TryPeek(out _))
            {
                log?.Tick(idle: true);
            }
        }
    }

    private void Take(object message)
    {
        if (message is not StatusEvent happened)
        {
            ((IQuestion)message).Ask(status);
            return;
        }
        Interlocked.Add(ref waitingTasks, happened switch
        {
            StatusEvent.TasksEnded ended => -ended.Tasks.Length,
            StatusEvent.TasksSent sent => -sent.Tasks.Count,
            _ => 0,
        });
        status.Apply(happened);
        log?.Append(happened);
        if (stageEnded is not null && happened is StatusEvent.StageEnded { Outcome: not StageOutcome.Cancelled } stage && status.Stage(stage.Id.Value, stage.Attempt) is { } known)
        {
            stageEnded(known.ToInfo());
        }
    }

    private interface IQuestion
    {
        void Ask(ApplicationStatus status);
    }

    private sealed class Question<T>(Func<ApplicationStatus, T> read) : IQuestion
    {
        private readonly TaskCompletionSource<T> answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<T> Answer => answer.Task;

        public void Ask(ApplicationStatus status)
        {
            try
            {
                answer.TrySetResult(read(status));
            }
            catch (Exception error)
            {
                answer.TrySetException(error);
            }
        }
    }
}

/// <summary>Where a <see cref="StatusKeeper"/> writes the events it has taken: a file, or a list in tests. Called from one task; may not block or throw.</summary>
internal interface IStatusLog : IAsyncDisposable
{
    /// <summary>One more event.</summary>
    void Append(StatusEvent happened);

    /// <summary>Once in a while, and when nothing more is to come for now.</summary>
    void Tick(bool idle);
}
