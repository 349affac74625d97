using System.Threading.Channels;
using Yarnish.Protocol;
using Yarnish.Transport;

namespace Yarnish.Executor;

/// <summary>
/// Sends reports: whatever is there, up to 64 in one message, a lone one at once; a few messages may be unconfirmed at a time. While there is no connection nothing is
/// sent; the table keeps every report, and all of them follow the next hello.
/// </summary>
internal sealed class ReportSender(IExecutorLink link, AttemptTable table) : IDisposable
{
    private const int LargestMessage = 64;

    // A message of the data path stays far below the broker's limit of 16 MiB.
    private const long LargestMessageBytes = 2 * 1024 * 1024;

    private readonly Channel<Attempt> pending = Channel.CreateUnbounded<Attempt>(new UnboundedChannelOptions { SingleReader = true });
    private readonly SemaphoreSlim window = new(8, 8);
    private readonly Lock gate = new();
    private List<Attempt> refused = [];
    private volatile AddressBox? address;

    /// <summary>Messages sent.</summary>
    public long Messages { get; private set; }

    /// <summary>The connection, once the hello went out; null while there is none.</summary>
    public ExecutorAddress? Address
    {
        get => address?.Value;
        set => address = value is { } given ? new AddressBox(given) : null;
    }

    /// <summary>Queues an attempt that has ended.</summary>
    public void Add(Attempt attempt) => pending.Writer.TryWrite(attempt);

    /// <summary>Queues again what the link refused while it was up.</summary>
    public void AddRefused()
    {
        List<Attempt> again;
        lock (gate)
        {
            if (refused.Count == 0)
            {
                return;
            }
            again = refused;
            refused = [];
        }
        foreach (var attempt in again)
        {
            Add(attempt);
        }
    }

    /// <summary>Sends until disposed.</summary>
    public async Task RunAsync(CancellationToken cancellation)
    {
        Attempt? carried = null;
        while (carried is not null || await pending.Reader.WaitToReadAsync(cancellation).ConfigureAwait(false))
        {
            await window.WaitAsync(cancellation).ConfigureAwait(false);
            var attempts = new List<Attempt>();
            var bytes = 0L;
            while (attempts.Count < LargestMessage && (carried ?? (pending.Reader.TryRead(out var next) ? next : null)) is { } attempt)
            {
                var size = attempt.Report!.Result.Length + (attempt.Report.MapOutput?.SizeClasses.Length ?? 0);
                if (attempt.Report.Accumulators is { } accumulators)
                {
                    size += accumulators.Sum(static change => change.Value.Length);
                }
                if (attempts.Count > 0 && bytes + size > LargestMessageBytes)
                {
                    carried = attempt;
                    break;
                }
                carried = null;
                bytes += size;
                attempts.Add(attempt);
            }
            _ = SendAsync(attempts);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => pending.Writer.TryComplete();

    private async Task SendAsync(List<Attempt> attempts)
    {
        try
        {
            if (attempts.Count == 0 || address is not { } to)
            {
                return;
            }
            var reports = new TaskReport[attempts.Count];
            for (var i = 0; i < reports.Length; i++)
            {
                reports[i] = attempts[i].Report!;
            }
            Messages++;
            if (await link.SendAsync(new TaskReports(to.Value, reports)).ConfigureAwait(false))
            {
                table.Confirm(attempts);
                return;
            }
            lock (gate)
            {
                // A new epoch sends all that is kept; this is for a link that stays up and refuses.
                if (ReferenceEquals(address, to))
                {
                    refused.AddRange(attempts);
                }
            }
        }
        catch (ObjectDisposedException)
        {
            // The executor has ended.
        }
        finally
        {
            window.Release();
        }
    }

    private sealed class AddressBox(ExecutorAddress value)
    {
        public ExecutorAddress Value { get; } = value;
    }
}
