using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using Newtonsoft.Json;
using Yarnish.Protocol;

namespace Yarnish.Transport;

/// <summary>
/// Turns task messages into bytes: one line of JSON that people can read in the broker's own pages, a line feed, then the attachments (task inputs, code, results)
/// one after the other in the order in which the JSON names their lengths. Buffers are kept between messages, so a batch costs next to no
/// allocation. One thread at a time; what <c>Write</c> returns is valid until the next call.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Holds memory only; there is nothing to close.")]
internal sealed class WireWriter(int maximumBytes = WireWriter.DefaultMaximumBytes)
{
    /// <summary>8 MiB: half of what RabbitMQ 4 accepts by default.</summary>
    public const int DefaultMaximumBytes = 8 << 20;

    // Texts for people that user code chose: a report must not become too large to send because of them.
    private const int MaximumMessageLength = 16 << 10;
    private const int MaximumStackLength = 64 << 10;
    private const int KeptBufferBytes = 1 << 20;

    private readonly CharSink sink = new();
    private readonly List<ReadOnlyMemory<byte>> attachments = [];
    private JsonTextWriter? json;
    private byte[] body = new byte[16 << 10];
    private long attachedBytes;

    public ReadOnlyMemory<byte> Write(ApplicationId application, DriverMessage message)
    {
        var writer = Begin();
        writer.WriteStartObject();
        switch (message)
        {
            case TaskBatch batch:
                Text(writer, "type", "task-batch");
                Text(writer, "app", application.Value);
                Batch(writer, batch);
                break;
            case CodeBlock code:
                Text(writer, "type", "code-block");
                Text(writer, "app", application.Value);
                Text(writer, "code", code.CodeHash);
                Bytes(writer, "bytes", code.Content);
                break;
            case CancelTasks cancel:
                Text(writer, "type", "cancel-tasks");
                Text(writer, "app", application.Value);
                Attempts(writer, "attempts", cancel.Attempts);
                Text(writer, "reason", cancel.Reason);
                break;
            case DropBlocks drop:
                Text(writer, "type", "drop-blocks");
                Text(writer, "app", application.Value);
                writer.WritePropertyName("shuffles");
                writer.WriteStartArray();
                foreach (var shuffle in drop.Shuffles)
                {
                    writer.WriteValue(shuffle.Value);
                }
                writer.WriteEndArray();
                writer.WritePropertyName("collections");
                writer.WriteStartArray();
                foreach (var collection in drop.Collections)
                {
                    writer.WriteValue(collection);
                }
                writer.WriteEndArray();
                if (drop.Broadcasts.Count > 0)
                {
                    writer.WritePropertyName("broadcasts");
                    writer.WriteStartArray();
                    foreach (var broadcast in drop.Broadcasts)
                    {
                        writer.WriteValue(broadcast);
                    }
                    writer.WriteEndArray();
                }
                break;
            case DriverAlive alive:
                Text(writer, "type", "driver-alive");
                Text(writer, "app", application.Value);
                Number(writer, "driverEpoch", alive.DriverEpoch);
                break;
            case SayHello say:
                Text(writer, "type", "say-hello");
                Text(writer, "app", application.Value);
                Number(writer, "driverEpoch", say.DriverEpoch);
                break;
            case ShutdownExecutor shutdown:
                Text(writer, "type", "shutdown-executor");
                Text(writer, "app", application.Value);
                Text(writer, "reason", shutdown.Reason);
                break;
            case LocationsPublished published:
                Text(writer, "type", "locations-published");
                Text(writer, "app", application.Value);
                Number(writer, "shuffle", published.ShuffleId.Value);
                Number(writer, "epoch", published.Epoch);
                break;
            case BlockGiven given:
                Text(writer, "type", "block-given");
                Text(writer, "app", application.Value);
                Text(writer, "block", given.Block);
                Text(writer, "reason", Clip(given.Problem, MaximumMessageLength));
                break;
            case BarrierReleased released:
                Text(writer, "type", "barrier-released");
                Text(writer, "app", application.Value);
                Attempts(writer, "attempts", released.Attempts);
                Number(writer, "round", released.Round);
                writer.WritePropertyName("messages");
                writer.WriteStartArray();
                foreach (var said in released.Messages)
                {
                    writer.WriteValue(said);
                }
                writer.WriteEndArray();
                break;
            case CopyPartitions copy:
                Text(writer, "type", "copy-partitions");
                Text(writer, "app", application.Value);
                Places(writer, "partitions", copy.Partitions);
                break;
            case WritePartitions:
                Text(writer, "type", "write-partitions");
                Text(writer, "app", application.Value);
                break;
            default:
                throw new InvalidOperationException($"{message.GetType().Name} has no wire format: add it to WireWriter and WireReader.");
        }
        writer.WriteEndObject();
        return Finish(message.GetType().Name);
    }

    public ReadOnlyMemory<byte> Write(ApplicationId application, ExecutorMessage message)
    {
        var writer = Begin();
        writer.WriteStartObject();
        Text(writer, "type", message switch
        {
            TaskReports => "task-reports",
            ExecutorBeat => "executor-beat",
            ExecutorHello => "executor-hello",
            LocationsWanted => "locations-wanted",
            BlockWanted => "block-wanted",
            BarrierArrived => "barrier-arrived",
            ExecutorGoodbye => "executor-goodbye",
            PartitionsHeld => "partitions-held",
            _ => throw new InvalidOperationException($"{message.GetType().Name} has no wire format: add it to WireWriter and WireReader."),
        });
        Text(writer, "app", application.Value);
        Text(writer, "executor", message.From.ExecutorId.Value);
        Number(writer, "epoch", message.From.Epoch);
        switch (message)
        {
            case TaskReports reports:
                writer.WritePropertyName("reports");
                writer.WriteStartArray();
                foreach (var report in reports.Reports)
                {
                    Report(writer, report);
                }
                writer.WriteEndArray();
                break;
            case ExecutorBeat beat:
                Number(writer, "sequence", beat.Sequence);
                Attempts(writer, "running", beat.Running);
                Number(writer, "queued", beat.Queued);
                Number(writer, "memory", beat.MemoryBytes);
                break;
            case ExecutorHello hello:
                Text(writer, "node", hello.NodeId.Value);
                Text(writer, "url", hello.NodeUrl);
                Number(writer, "slots", hello.Slots);
                Attempts(writer, "running", hello.Running);
                Attempts(writer, "finished", hello.Finished);
                Number(writer, "pid", hello.ProcessId);
                Text(writer, "host", hello.Host);
                break;
            case LocationsWanted wanted:
                Number(writer, "shuffle", wanted.ShuffleId.Value);
                // The epoch above is the connection's.
                Number(writer, "sequence", wanted.Epoch);
                break;
            case BlockWanted wanted:
                Text(writer, "block", wanted.Block);
                break;
            case BarrierArrived arrived:
                Number(writer, "attempt", arrived.AttemptId.Value);
                Number(writer, "round", arrived.Round);
                Text(writer, "message", arrived.Message);
                break;
            case ExecutorGoodbye goodbye:
                Text(writer, "reason", goodbye.Reason);
                break;
            case PartitionsHeld held:
                Text(writer, "node", held.NodeId.Value);
                Cached(writer, "cached", held.Partitions);
                if (held.Lost.Count > 0)
                {
                    Places(writer, "lost", held.Lost);
                }
                if (held.AllWritten)
                {
                    writer.WritePropertyName("allWritten");
                    writer.WriteValue(true);
                }
                break;
        }
        writer.WriteEndObject();
        return Finish(message.GetType().Name);
    }

    private void Batch(JsonTextWriter writer, TaskBatch batch)
    {
        Number(writer, "driverEpoch", batch.DriverEpoch);
        Number(writer, "stage", batch.StageId.Value);
        Number(writer, "stageAttempt", batch.StageAttempt);
        Text(writer, "code", batch.CodeHash);
        if (batch.Shuffles.Count > 0)
        {
            writer.WritePropertyName("shuffles");
            writer.WriteStartArray();
            foreach (var shuffle in batch.Shuffles)
            {
                writer.WriteStartArray();
                writer.WriteValue(shuffle.ShuffleId.Value);
                writer.WriteValue(shuffle.Epoch);
                writer.WriteEndArray();
            }
            writer.WriteEndArray();
        }
        if (!string.IsNullOrEmpty(batch.TraceParent))
        {
            Text(writer, "trace", batch.TraceParent);
        }
        if (batch.Links.Count > 0)
        {
            writer.WritePropertyName("links");
            writer.WriteStartArray();
            foreach (var link in batch.Links)
            {
                writer.WriteStartArray();
                writer.WriteValue(link.AttemptId.Value);
                writer.WriteValue(link.TraceParent);
                writer.WriteEndArray();
            }
            writer.WriteEndArray();
        }
        if (batch.Elsewhere.Count > 0)
        {
            Places(writer, "elsewhere", batch.Elsewhere);
        }
        if (batch.SettledUpTo != 0)
        {
            Number(writer, "settledUpTo", batch.SettledUpTo);
        }
        // [attempt, partition, attempt number, length of input]; zeros at the end are left out.
        writer.WritePropertyName("tasks");
        writer.WriteStartArray();
        var tasks = batch.Tasks;
        for (var i = 0; i < tasks.Count; i++)
        {
            var task = tasks[i];
            writer.WriteStartArray();
            writer.WriteValue(task.AttemptId.Value);
            writer.WriteValue(task.Partition);
            if (task.AttemptNumber != 0 || !task.Input.IsEmpty)
            {
                writer.WriteValue(task.AttemptNumber);
            }
            if (!task.Input.IsEmpty)
            {
                writer.WriteValue(task.Input.Length);
                Attach(task.Input);
            }
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
    }

    private static void Cached(JsonTextWriter writer, string name, IReadOnlyList<CachedPartition> partitions)
    {
        writer.WritePropertyName(name);
        writer.WriteStartArray();
        foreach (var partition in partitions)
        {
            writer.WriteStartArray();
            writer.WriteValue(partition.Collection);
            writer.WriteValue(partition.Partition);
            writer.WriteValue(partition.MemoryBytes);
            writer.WriteValue(partition.DiskBytes);
            if (partition.Replicate)
            {
                writer.WriteValue(1);
            }
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
    }

    private static void Places(JsonTextWriter writer, string name, IReadOnlyList<PartitionAt> places)
    {
        writer.WritePropertyName(name);
        writer.WriteStartArray();
        foreach (var place in places)
        {
            writer.WriteStartArray();
            writer.WriteValue(place.Collection);
            writer.WriteValue(place.Partition);
            writer.WriteValue(place.NodeId.Value);
            writer.WriteValue(place.NodeUrl);
            writer.WriteEndArray();
        }
        writer.WriteEndArray();
    }

    private void Report(JsonTextWriter writer, TaskReport report)
    {
        writer.WriteStartObject();
        Number(writer, "id", report.AttemptId.Value);
        if (report.End is not TaskSucceeded)
        {
            writer.WritePropertyName("end");
            End(writer, report.End);
        }
        if (report.TraceParent.Length > 0)
        {
            Text(writer, "trace", report.TraceParent);
        }
        Metrics(writer, report.Metrics);
        if (!report.Result.IsEmpty)
        {
            Bytes(writer, "result", report.Result);
        }
        if (report.ResultBlock is { } block)
        {
            Text(writer, "block", block);
        }
        if (report.MapOutput is { } output)
        {
            writer.WritePropertyName("map");
            writer.WriteStartObject();
            Number(writer, "shuffle", output.ShuffleId.Value);
            Number(writer, "partition", output.MapPartition);
            Number(writer, "attempt", output.AttemptId.Value);
            Text(writer, "node", output.NodeId.Value);
            Text(writer, "url", output.NodeUrl);
            Bytes(writer, "sizes", output.SizeClasses);
            writer.WriteEndObject();
        }
        if (report.Accumulators is { Count: > 0 } accumulators)
        {
            writer.WritePropertyName("accumulators");
            writer.WriteStartArray();
            foreach (var (number, change) in accumulators)
            {
                writer.WriteStartArray();
                writer.WriteValue(number);
                writer.WriteValue(change.Length);
                writer.WriteEndArray();
                Attach(change);
            }
            writer.WriteEndArray();
        }
        if (report.Cached is { Count: > 0 } cached)
        {
            Cached(writer, "cached", cached);
        }
        writer.WriteEndObject();
    }

    private static void End(JsonTextWriter writer, TaskEnd end)
    {
        writer.WriteStartObject();
        switch (end)
        {
            case TaskFailed failed:
                Text(writer, "kind", "failed");
                writer.WritePropertyName("error");
                Error(writer, failed.Error, depth: 0);
                break;
            case FetchFailed fetch:
                Text(writer, "kind", "fetch-failed");
                Number(writer, "shuffle", fetch.ShuffleId.Value);
                Number(writer, "partition", fetch.MapPartition);
                Number(writer, "attempt", fetch.MapAttempt.Value);
                Text(writer, "node", fetch.NodeId.Value);
                Text(writer, "message", Clip(fetch.Message, MaximumMessageLength));
                break;
            case TaskKilled killed:
                Text(writer, "kind", "killed");
                Text(writer, "reason", Clip(killed.Reason, MaximumMessageLength));
                break;
            case TaskResultLost lost:
                Text(writer, "kind", "result-lost");
                Text(writer, "message", Clip(lost.Message, MaximumMessageLength));
                break;
            case TaskCommitDenied:
                Text(writer, "kind", "commit-denied");
                break;
            case TaskCodeMissing missing:
                Text(writer, "kind", "code-missing");
                Text(writer, "code", missing.CodeHash);
                break;
            case TaskExecutorLost lost:
                Text(writer, "kind", "executor-lost");
                Text(writer, "executor", lost.ExecutorId.Value);
                Text(writer, "cause", lost.Cause.ToString());
                writer.WritePropertyName("byTask");
                writer.WriteValue(lost.CausedByTask);
                Text(writer, "message", Clip(lost.Message, MaximumMessageLength));
                break;
            case TaskResubmitted:
                Text(writer, "kind", "resubmitted");
                break;
            default:
                throw new InvalidOperationException($"{end.GetType().Name} has no wire format: add it to WireWriter and WireReader.");
        }
        writer.WriteEndObject();
    }

    private static void Error(JsonTextWriter writer, RemoteError error, int depth)
    {
        writer.WriteStartObject();
        Text(writer, "type", error.Type);
        Text(writer, "message", Clip(error.Message, MaximumMessageLength));
        Text(writer, "stack", Clip(error.StackTrace, MaximumStackLength));
        if (error.Inner is { } inner && depth < WireReader.MaximumErrorDepth)
        {
            writer.WritePropertyName("inner");
            Error(writer, inner, depth + 1);
        }
        writer.WriteEndObject();
    }

    // The order is frozen; zeros at the end are left out, so the counters that most tasks have come first.
    private static void Metrics(JsonTextWriter writer, TaskMetrics metrics)
    {
        Span<long> values =
        [
            metrics.RunMicroseconds, metrics.QueueMicroseconds, metrics.ResultBytes, metrics.DeserializeMicroseconds, metrics.GarbageCollectionMicroseconds,
            metrics.InputRows, metrics.InputBytes, metrics.OutputRows, metrics.OutputBytes, metrics.ShuffleWriteRows, metrics.ShuffleWriteBytes,
            metrics.ShuffleWriteMicroseconds, metrics.ShuffleReadRows, metrics.ShuffleReadLocalBytes, metrics.ShuffleReadRemoteBytes,
            metrics.ShuffleFetchWaitMicroseconds, metrics.SpillBytes, metrics.SkippedRows,
        ];
        var count = values.TrimEnd(0L).Length;
        if (count == 0)
        {
            return;
        }
        writer.WritePropertyName("metrics");
        writer.WriteStartArray();
        foreach (var value in values[..count])
        {
            writer.WriteValue(value);
        }
        writer.WriteEndArray();
    }

    private static void Attempts(JsonTextWriter writer, string name, IReadOnlyList<TaskAttemptId> attempts)
    {
        writer.WritePropertyName(name);
        writer.WriteStartArray();
        for (var i = 0; i < attempts.Count; i++)
        {
            writer.WriteValue(attempts[i].Value);
        }
        writer.WriteEndArray();
    }

    private static void Text(JsonTextWriter writer, string name, string value)
    {
        writer.WritePropertyName(name, escape: false);
        writer.WriteValue(value ?? "");
    }

    private static void Number(JsonTextWriter writer, string name, long value)
    {
        writer.WritePropertyName(name, escape: false);
        writer.WriteValue(value);
    }

    private static string Clip(string text, int length) => text is null ? "" : text.Length <= length ? text : text[..length] + " … (cut)";

    private void Bytes(JsonTextWriter writer, string name, ReadOnlyMemory<byte> content)
    {
        Number(writer, name, content.Length);
        Attach(content);
    }

    private void Attach(ReadOnlyMemory<byte> content)
    {
        if (!content.IsEmpty)
        {
            attachments.Add(content);
            attachedBytes += content.Length;
        }
    }

    private JsonTextWriter Begin()
    {
        sink.Clear();
        attachments.Clear();
        attachedBytes = 0;
        // A writer that failed in the middle of a message is useless; one that finished starts the next root value.
        if (json is not { WriteState: WriteState.Start })
        {
            json = new JsonTextWriter(sink) { CloseOutput = false, AutoCompleteOnClose = false, ArrayPool = CharPool.Instance };
        }
        return json;
    }

    private ReadOnlyMemory<byte> Finish(string what)
    {
        var text = sink.Written;
        long bytes = Encoding.UTF8.GetByteCount(text) + 1 + attachedBytes;
        if (bytes > maximumBytes)
        {
            attachments.Clear();
            throw new MessageTooLargeException(what, bytes, maximumBytes);
        }
        if (body.Length < bytes || (body.Length > KeptBufferBytes && bytes <= KeptBufferBytes))
        {
            body = new byte[Math.Max((int)bytes, Math.Min((int)bytes * 2, KeptBufferBytes))];
        }
        var position = Encoding.UTF8.GetBytes(text, body);
        body[position++] = (byte)'\n';
        foreach (var attachment in attachments)
        {
            attachment.Span.CopyTo(body.AsSpan(position));
            position += attachment.Length;
        }
        attachments.Clear();
        return body.AsMemory(0, position);
    }

    /// <summary>Characters, kept between messages.</summary>
    private sealed class CharSink : TextWriter
    {
        private char[] buffer = new char[8 << 10];
        private int length;

        public override Encoding Encoding => Encoding.Unicode;

        public ReadOnlySpan<char> Written => buffer.AsSpan(0, length);

        public void Clear()
        {
            length = 0;
            if (buffer.Length > KeptBufferBytes)
            {
                buffer = new char[8 << 10];
            }
        }

        public override void Write(char value)
        {
            if (length == buffer.Length)
            {
                Array.Resize(ref buffer, buffer.Length * 2);
            }
            buffer[length++] = value;
        }

        public override void Write(char[] buffer, int index, int count) => Write(buffer.AsSpan(index, count));

        public override void Write(string? value) => Write(value.AsSpan());

        public override void Write(ReadOnlySpan<char> buffer)
        {
            while (this.buffer.Length - length < buffer.Length)
            {
                Array.Resize(ref this.buffer, this.buffer.Length * 2);
            }
            buffer.CopyTo(this.buffer.AsSpan(length));
            length += buffer.Length;
        }
    }
}

/// <summary>Lets the JSON reader and writer take their buffers from the shared pool.</summary>
internal sealed class CharPool : IArrayPool<char>
{
    public static CharPool Instance { get; } = new();

    public char[] Rent(int minimumLength) => ArrayPool<char>.Shared.Rent(minimumLength);

    public void Return(char[]? array)
    {
        if (array is not null)
        {
            ArrayPool<char>.Shared.Return(array);
        }
    }
}
