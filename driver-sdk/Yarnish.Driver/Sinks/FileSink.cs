using System.Globalization;
using Yarnish.Executor;
using Yarnish.Serialization;
using Yarnish.Sources;

namespace Yarnish.Sinks;

/// <summary>A file for each partition, in one directory.</summary>
/// <param name="target">The directory, full path.</param>
/// <param name="mode">What to do when it has content.</param>
/// <param name="format">How rows are laid into a file.</param>
/// <param name="compression">How the files are packed.</param>
/// <param name="operation">What the user called.</param>
internal sealed class FileSink<T>(string target, SaveMode mode, FileFormat<T> format, FileCompression compression, string operation) : Sink<T>
{
    private readonly string target = target;
    private readonly SaveMode mode = mode;
    private readonly FileFormat<T> format = format;
    private readonly FileCompression compression = compression;
    private readonly string operation = operation;
    private string attempts = "";

    [YarnishTransient]
    private OutputDirectory? output;

    /// <inheritdoc/>
    public override Task<bool> PrepareAsync(CancellationToken cancellation)
    {
        output = OutputDirectory.Open(operation, target, mode);
        attempts = output?.Attempts ?? "";
        return Task.FromResult(output is not null);
    }

    /// <inheritdoc/>
    public override Task<SinkReceipt> WriteAsync(IEnumerable<T> rows, TaskContext task)
    {
        var name = string.Create(CultureInfo.InvariantCulture, $"{task.Partition:D5}.{task.AttemptId.Value}");
        var path = Path.Combine(attempts, name);
        var written = 0L;
        // Only the driver makes directories: an attempt that outlives its job finds none and leaves nothing behind.
        var file = OutputStream.Create(path);
        try
        {
            using (file)
            {
                var packed = CompressedFiles.Pack(file, compression);
                using (ReferenceEquals(packed, file) ? null : packed)
                {
                    format.Write(rows, packed);
                }
                written = file.Save();
            }
        }
        catch
        {
            // Not another attempt's: the name is this one's own.
            OutputStream.TryDelete(path);
            throw;
        }
        return Task.FromResult(new SinkReceipt(name, written));
    }

    /// <inheritdoc/>
    public override Task CommitAsync(IReadOnlyList<SinkReceipt> receipts)
    {
        output!.Commit(receipts, format.Extension + CompressedFiles.ExtensionOf(compression));
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public override Task EndAsync()
    {
        output?.Remove();
        return Task.CompletedTask;
    }
}
