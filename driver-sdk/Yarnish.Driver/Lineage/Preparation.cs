namespace Yarnish.Lineage;

/// <summary>Work of the driver that the first job that needs it waits for, such as sampling the range of keys; done once. A failed or cancelled try is tried again by the next job.</summary>
internal sealed class Preparation(Func<CancellationToken, Task> work)
{
    private readonly Lock gate = new();
    private Task? done;

    public async Task RunAsync(CancellationToken cancellation)
    {
        while (true)
        {
            Task trying;
            lock (gate)
            {
                if (done is null || done.IsFaulted || done.IsCanceled)
                {
                    done = work(cancellation);
                }
                trying = done;
            }
            try
            {
                await trying.WaitAsync(cancellation).ConfigureAwait(false);
                return;
            }
            catch (OperationCanceledException) when (trying.IsCanceled && !cancellation.IsCancellationRequested)
            {
                // The job that began the work was cancelled; this one was not.
            }
        }
    }
}
