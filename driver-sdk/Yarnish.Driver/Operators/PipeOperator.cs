using System.Buffers;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Threading.Channels;

namespace Yarnish.Operators;

/// <summary>
/// The lines that an external program writes when it is given the rows as lines. The slot's thread computes the rows and fills buffers; writing them to the program and reading its lines go on beside
/// it, each bounded, so that neither side can fill the memory or block the other.
/// </summary>
internal sealed class PipeOperator(string program, string[] arguments, KeyValuePair<string, string>[] environment) : Operator<string>
{
    private const int WriteBytes = 32 << 10;
    private const int LinesAtOnce = 256;
    private const int BatchesAhead = 16;
    private const int MaximumWords = 2_000;

    private static readonly UTF8Encoding Text = new(encoderShouldEmitUTF8Identifier: false);

    private readonly string program = program;
    private readonly string[] arguments = arguments;
    private readonly KeyValuePair<string, string>[] environment = environment;

    public override IEnumerable<string> Open(OperatorInputs inputs, int partition)
    {
        var cancellation = inputs.Task.Context.Cancellation;
        using var process = Start(partition);
        using var stop = cancellation.Register(static process => Kill((Process)process!), process);
        var lines = Channel.CreateBounded<List<string>>(BatchesAhead);
        _ = Task.Run(() => ReadLinesAsync(process.StandardOutput, lines.Writer), CancellationToken.None);
        var lastWords = Task.Run(() => ReadLastWordsAsync(process.StandardError), CancellationToken.None);
        var input = new LineWriter(process.StandardInput.BaseStream);
        try
        {
            using var rows = inputs.Open<string>(0, partition).GetEnumerator();
            Task<bool>? coming = null;
            while (true)
            {
                while (lines.Reader.TryRead(out var batch))
                {
                    foreach (var line in batch)
                    {
                        yield return line;
                    }
                }
                coming ??= lines.Reader.WaitToReadAsync().AsTask();
                if (!coming.IsCompleted && !input.TryFill(rows))
                {
                    Task.WhenAny(coming, input.Writing ?? coming).GetAwaiter().GetResult();
                }
                if (coming.IsCompleted)
                {
                    if (!coming.GetAwaiter().GetResult())
                    {
                        break;
                    }
                    coming = null;
                }
            }
            while (input.TryFill(rows) || input.Writing is not null)
            {
                // A program that has closed its output may still want the rest of its input.
                input.Writing?.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing).GetAwaiter().GetResult();
            }
            process.WaitForExit();
            cancellation.ThrowIfCancellationRequested();
            if (process.ExitCode != 0)
            {
                var words = lastWords.Wait(TimeSpan.FromSeconds(5), CancellationToken.None) ? lastWords.Result.Trim() : "";
                throw new InvalidOperationException(
                    $"Pipe: '{program}' ended with exit code {process.ExitCode} on partition {partition}. {(words.Length == 0 ? "It wrote nothing to its standard error." : $"Its last words: {words}")}");
            }
        }
        finally
        {
            // Whoever reads no further needs no more of it either.
            Kill(process);
            lines.Writer.TryComplete();
        }
    }

    private Process Start(int partition)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardInputEncoding = Text,
            StandardOutputEncoding = Text,
            StandardErrorEncoding = Text,
        };
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }
        start.Environment["YARNISH_PARTITION"] = partition.ToString(CultureInfo.InvariantCulture);
        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception error)
        {
            throw new InvalidOperationException($"Pipe: '{program}' cannot be started on {Environment.MachineName}: {error.Message}. It must be installed on every node, or travel with the program's files.", error);
        }
    }

    private static void Kill(Process process)
    {
        try
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
        catch (Exception error) when (error is InvalidOperationException or Win32Exception)
        {
            // It has ended by itself just now.
        }
    }

    private static async Task ReadLinesAsync(StreamReader output, ChannelWriter<List<string>> lines)
    {
        try
        {
            var batch = new List<string>();
            while (true)
            {
                var next = output.ReadLineAsync();
                // What is there is handed on before waiting for more, and at the latest when it is much.
                if (batch.Count > 0 && (!next.IsCompleted || batch.Count >= LinesAtOnce))
                {
                    await lines.WriteAsync(batch).ConfigureAwait(false);
                    batch = [];
                }
                if (await next.ConfigureAwait(false) is not { } line)
                {
                    break;
                }
                batch.Add(line);
            }
            if (batch.Count > 0)
            {
                await lines.WriteAsync(batch).ConfigureAwait(false);
            }
        }
        catch (Exception error) when (error is ChannelClosedException or IOException or ObjectDisposedException)
        {
            // Nobody reads any more.
        }
        finally
        {
            lines.TryComplete();
        }
    }

    private static async Task<string> ReadLastWordsAsync(StreamReader errors)
    {
        var kept = "";
        var buffer = new char[1024];
        try
        {
            while (await errors.ReadAsync(buffer).ConfigureAwait(false) is var count and > 0)
            {
                kept += new string(buffer, 0, count);
                kept = kept.Length > MaximumWords ? kept[^MaximumWords..] : kept;
            }
        }
        catch (Exception error) when (error is IOException or ObjectDisposedException)
        {
            // What was read is all there is.
        }
        return kept;
    }

    /// <summary>Rows as lines into the program: the next buffer is filled when the last one is out.</summary>
    private sealed class LineWriter(Stream stream)
    {
        private readonly ArrayBufferWriter<byte> buffer = new(WriteBytes + 1024);
        private bool closed;

        /// <summary>Completed when the program has taken the last buffer; null when there is none.</summary>
        public Task? Writing { get; private set; }

        /// <summary>Fills the next buffer and begins to write it. False when there is nothing to do now: the last one is being written, or all are.</summary>
        public bool TryFill(IEnumerator<string> rows)
        {
            if (closed || Writing is { IsCompleted: false })
            {
                return false;
            }
            buffer.ResetWrittenCount();
            while (Writing is not { IsFaulted: true } && buffer.WrittenCount < WriteBytes && rows.MoveNext())
            {
                var row = rows.Current ?? throw new InvalidOperationException("Pipe: a row is null; there is no line for it. Leave such rows out with Where.");
                Text.GetBytes(row, buffer);
                buffer.Write("\n"u8);
            }
            if (buffer.WrittenCount == 0)
            {
                // All is written, or the program has closed its input: it wants no more, as head does.
                Close();
                return false;
            }
            Writing = WriteAsync();
            return true;
        }

        private async Task WriteAsync()
        {
            await stream.WriteAsync(buffer.WrittenMemory).ConfigureAwait(false);
            await stream.FlushAsync().ConfigureAwait(false);
        }

        private void Close()
        {
            closed = true;
            Writing = null;
            try
            {
                stream.Dispose();
            }
            catch (IOException)
            {
                // It has closed its end already.
            }
        }
    }
}
