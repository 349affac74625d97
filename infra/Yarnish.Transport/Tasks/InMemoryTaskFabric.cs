using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// The data path of one application inside one process: the twin of RabbitMqDriverLink and RabbitMqExecutorLink for embedded
/// mode. Messages pass by reference, nothing is serialized. Bounds are the same in kind: a sender waits while its receiver is
/// <see cref="QueueCapacity"/> messages behind.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The links belong to those who asked for them, and they dispose them.")]
public sealed class InMemoryTaskFabric
{
    /// <summary>How many messages may wait for one receiver: far more than a driver's window ever sends.</summary>
    public const int QueueCapacity = 4096;

    private readonly Lock gate = new();
    private readonly Dictionary<ExecutorId, ExecutorEnd> executors = [];
    private DriverEnd? driver;

    /// <summary>The driver's end; one per fabric.</summary>
    /// <exception cref="InvalidOperationException">It exists already.</exception>
    public IDriverLink CreateDriverLink()
    {
        lock (gate)
        {
            return driver is null ? driver = new DriverEnd(this) : throw new InvalidOperationException("This fabric has a driver link already: one application has one driver.");
        }
    }

    /// <summary>The end of one executor; messages reach it from <see cref="IExecutorLink.StartAsync"/> on.</summary>
    /// <param name="executor">Its id, not used before in this fabric.</param>
    public IExecutorLink CreateExecutorLink(ExecutorId executor) => new ExecutorEnd(this, executor);

    /// <summary>Cuts an executor's connection and connects it anew, as a broker's restart would: what it had not read is lost, a new epoch begins.</summary>
    internal void Reconnect(ExecutorId executor)
    {
        lock (gate)
        {
            executors[executor].BeginEpoch("reconnected");
        }
    }

    private sealed class DriverEnd(InMemoryTaskFabric fabric) : IDriverLink
    {
        private readonly Channel<DriverLinkEvent> events = Channel.CreateBounded<DriverLinkEvent>(
            new BoundedChannelOptions(QueueCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

        private volatile bool disposed;

        public ChannelReader<DriverLinkEvent> Events => events.Reader;

        public bool Disposed => disposed;

        public Task StartAsync(CancellationToken cancellation) => Task.CompletedTask;

        public ValueTask<bool> SendAsync(ExecutorAddress to, DriverMessage message)
        {
            ExecutorEnd? executor;
            lock (fabric.gate)
            {
                if (disposed)
                {
                    return new(false);
                }
                executor = fabric.executors.GetValueOrDefault(to.ExecutorId);
            }
            var received = executor?.Post(to.Epoch, message);
            if (received is { } pending)
            {
                return pending.IsCompletedSuccessfully && pending.Result ? pending : FinishAsync(pending, to, message);
            }
            Return(to, message);
            return new(true);
        }

        public ValueTask<bool> BroadcastAsync(DriverMessage message)
        {
            ExecutorEnd[] all;
            lock (fabric.gate)
            {
                if (disposed)
                {
                    return new(false);
                }
                all = [.. fabric.executors.Values];
            }
            return BroadcastAsync(all, message);
        }

        public ValueTask<bool> Receive(ExecutorMessage message)
        {
            var received = new ExecutorMessageReceived(message);
            return !disposed && events.Writer.TryWrite(received) ? new(true) : ReceiveSlowAsync(received);
        }

        public ValueTask DisposeAsync()
        {
            ExecutorEnd[] all;
            lock (fabric.gate)
            {
                if (disposed)
                {
                    return default;
                }
                disposed = true;
                all = [.. fabric.executors.Values];
            }
            events.Writer.TryComplete();
            foreach (var executor in all)
            {
                executor.EndEpoch("the driver is gone");
            }
            return default;
        }

        private static async ValueTask<bool> BroadcastAsync(ExecutorEnd[] all, DriverMessage message)
        {
            foreach (var executor in all)
            {
                await executor.Post(epoch: null, message).ConfigureAwait(false);
            }
            return true;
        }

        private async ValueTask<bool> ReceiveSlowAsync(DriverLinkEvent received)
        {
            try
            {
                await events.Writer.WriteAsync(received).ConfigureAwait(false);
                return true;
            }
            catch (ChannelClosedException)
            {
                return false;
            }
        }

        private async ValueTask<bool> FinishAsync(ValueTask<bool> pending, ExecutorAddress to, DriverMessage message)
        {
            if (!await pending.ConfigureAwait(false))
            {
                Return(to, message);
            }
            return true;
        }

        private void Return(ExecutorAddress to, DriverMessage message)
        {
            var back = new MessageReturned(to, message is TaskBatch batch ? [.. batch.Tasks.Select(static task => task.AttemptId)] : []);
            if (!events.Writer.TryWrite(back))
            {
                // The reader may be the sender, so a send never waits for it: the event takes its turn when there is room.
                _ = ReceiveSlowAsync(back).AsTask();
            }
        }
    }

    private sealed class ExecutorEnd(InMemoryTaskFabric fabric, ExecutorId id) : IExecutorLink
    {
        private readonly Channel<ExecutorLinkEvent> events = Channel.CreateBounded<ExecutorLinkEvent>(
            new BoundedChannelOptions(QueueCapacity) { SingleReader = true, FullMode = BoundedChannelFullMode.Wait });

        private int epoch;
        private volatile bool connected;

        public ChannelReader<ExecutorLinkEvent> Events => events.Reader;

        public Task StartAsync(CancellationToken cancellation)
        {
            lock (fabric.gate)
            {
                if (!fabric.executors.TryAdd(id, this))
                {
                    throw new InvalidOperationException($"Executor {id} is connected already: ids are never used twice.");
                }
                BeginEpoch(reason: null);
            }
            return Task.CompletedTask;
        }

        public ValueTask<bool> SendAsync(ExecutorMessage message)
        {
            var driver = fabric.driver;
            return connected && driver is { Disposed: false } ? driver.Receive(message) : new(false);
        }

        public ValueTask DisposeAsync()
        {
            lock (fabric.gate)
            {
                fabric.executors.Remove(id);
            }
            connected = false;
            events.Writer.TryComplete();
            return default;
        }

        /// <summary>False when the epoch is not (any more) the one meant, or the executor is gone.</summary>
        public ValueTask<bool> Post(int? epoch, DriverMessage message)
        {
            if (!connected || (epoch ?? this.epoch) != this.epoch)
            {
                return new(false);
            }
            var received = new DriverMessageReceived(message);
            return events.Writer.TryWrite(received) ? new(true) : PostSlowAsync(received);
        }

        // Under the fabric's lock.
        public void BeginEpoch(string? reason)
        {
            if (reason is not null)
            {
                connected = false;
                while (events.Reader.TryRead(out _))
                {
                    // What was not read is lost with the connection.
                }
                events.Writer.TryWrite(new EpochEnded(reason));
            }
            epoch++;
            connected = true;
            events.Writer.TryWrite(new EpochStarted(new ExecutorAddress(id, epoch)));
        }

        public void EndEpoch(string reason)
        {
            connected = false;
            events.Writer.TryWrite(new EpochEnded(reason));
        }

        private async ValueTask<bool> PostSlowAsync(ExecutorLinkEvent received)
        {
            try
            {
                await events.Writer.WriteAsync(received).ConfigureAwait(false);
                return true;
            }
            catch (ChannelClosedException)
            {
                return false;
            }
        }
    }
}
