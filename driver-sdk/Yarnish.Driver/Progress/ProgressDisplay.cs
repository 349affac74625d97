using System.Globalization;
using System.Text;
using System.Threading.Channels;

namespace Yarnish.Progress;

/// <summary>
/// Shows progress on stderr: one line that is redrawn in a terminal, a plain line every few seconds otherwise, and one line per finished job. Writes on a task of its own, so that a
/// terminal that is held (Ctrl-S) or a full pipe never holds up the driver loop; what it cannot keep up with is counted and left out.
/// </summary>
internal sealed class ProgressDisplay : IAsyncDisposable
{
    /// <summary>Lines written within a second; the rest of a burst, such as of tiny jobs, is only counted.</summary>
    private const int BurstLines = 5;

    /// <summary>Stages drawn side by side, and the columns that each needs for a bar.</summary>
    private const int MaximumBars = 3;
    private const int SmallestShare = 30;

    /// <summary>A job is drawn once it has run so long: shorter ones would only flicker.</summary>
    private static readonly TimeSpan DrawAfter = TimeSpan.FromMilliseconds(500);

    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan BurstInterval = TimeSpan.FromSeconds(1);

    private readonly Channel<object> inbox = Channel.CreateBounded<object>(new BoundedChannelOptions(256) { SingleReader = true, FullMode = BoundedChannelFullMode.DropOldest });
    private readonly TextWriter output;
    private readonly ProgressStyle style;
    private readonly Func<int> width;
    private readonly TimeProvider clock;
    private readonly Task writing;
    private long lastLine;
    private long burstStart;
    private int burst;
    private int unwritten;
    private bool drawn;

    /// <param name="style">Bars or lines; <see cref="ProgressStyle.Auto"/> is settled by <see cref="Settle"/> before.</param>
    /// <param name="output">Usually stderr.</param>
    /// <param name="width">Columns of the terminal.</param>
    /// <param name="clock">Spaces the plain lines.</param>
    public ProgressDisplay(ProgressStyle style, TextWriter output, Func<int> width, TimeProvider clock)
    {
        this.style = style;
        this.output = output;
        this.width = width;
        this.clock = clock;
        lastLine = burstStart = clock.GetTimestamp();
        writing = style == ProgressStyle.None ? Task.CompletedTask : Task.Run(WriteAsync);
    }

    /// <summary>Whether anything is shown at all.</summary>
    public bool Enabled => style != ProgressStyle.None;

    /// <summary>Chooses for stderr of this process: bars in a terminal that can move the cursor, else lines.</summary>
    public static ProgressStyle Settle(ProgressStyle style) => style != ProgressStyle.Auto ? style
        : Console.IsErrorRedirected || Environment.GetEnvironmentVariable("TERM") is "dumb" or "" ? ProgressStyle.Lines : ProgressStyle.Bars;

    /// <summary>Columns of this process's terminal; 100 when it cannot tell.</summary>
    public static int TerminalWidth()
    {
        try
        {
            return Console.WindowWidth is > 0 and var columns ? columns : 100;
        }
        catch (IOException)
        {
            return 100;
        }
    }

    /// <summary>Shows what runs now.</summary>
    public void Show(ProgressSnapshot snapshot) => Post(snapshot);

    /// <summary>Writes a line of its own, such as for a finished job.</summary>
    public void Line(string text) => Post(text);

    /// <summary>Writes what is left and clears the bars.</summary>
    public async ValueTask DisposeAsync()
    {
        inbox.Writer.TryComplete();
        await writing.ConfigureAwait(false);
    }

    /// <summary>The words for one moment, at most <paramref name="width"/> columns; empty when there is nothing to tell yet.</summary>
    internal static string Describe(ProgressSnapshot snapshot, int width)
    {
        var text = new StringBuilder();
        if (snapshot.Waiting.Length > 0)
        {
            text.Append(snapshot.Waiting);
        }
        else
        {
            var stages = snapshot.Jobs.Where(job => job.Elapsed >= DrawAfter).SelectMany(job => job.Stages.Select(stage => (Job: job, Stage: stage))).ToList();
            if (stages.Count == 0)
            {
                return "";
            }
            var shown = Math.Clamp((width - 1) / SmallestShare, 1, Math.Min(stages.Count, MaximumBars));
            var more = stages.Count > shown ? $"+{stages.Count - shown} stages" : "";
            var share = (width - 1 - more.Length) / shown;
            foreach (var (job, stage) in stages.Take(shown))
            {
                text.Append(Bar(job, stage, share));
            }
            text.Append(more);
        }
        return text.Length < width ? text.ToString() : text.ToString(0, Math.Max(0, width - 1));
    }

    private static string Bar(JobProgress job, StageProgress stage, int width)
    {
        if (width < SmallestShare)
        {
            // No room for a bar: the numbers tell as much.
            return $"{job.JobId}.{stage.StageId} {stage.Done}/{stage.Total}{(stage.Failed > 0 ? $" {stage.Failed} failed" : "")} ";
        }
        var counts = $" {stage.Done}+{stage.Running}/{stage.Total}{(stage.Failed > 0 ? $" {stage.Failed} failed" : "")} {job.Elapsed.TotalSeconds:0} s] ";
        var name = $"[{job.JobId}.{stage.StageId} {stage.Name} ";
        var room = width - counts.Length;
        const int smallestBar = 10;
        if (name.Length > room - smallestBar)
        {
            name = room - smallestBar > 8 ? string.Concat(name.AsSpan(0, room - smallestBar - 2), "… ") : $"[{job.JobId}.{stage.StageId} ";
        }
        var cells = Math.Clamp(room - name.Length, smallestBar, 40);
        var full = stage.Total == 0 ? cells : (int)((long)stage.Done * cells / stage.Total);
        var busy = stage.Total == 0 ? 0 : (int)Math.Min(cells - full, (((long)stage.Running * cells) + stage.Total - 1) / stage.Total);
        return name + new string('=', full) + new string('>', busy) + new string('.', cells - full - busy) + counts;
    }

    private void Post(object item)
    {
        if (Enabled)
        {
            inbox.Writer.TryWrite(item);
        }
    }

    private async Task WriteAsync()
    {
        var reader = inbox.Reader;
        var lines = new List<string>();
        while (await reader.WaitToReadAsync().ConfigureAwait(false))
        {
            ProgressSnapshot? newest = null;
            lines.Clear();
            while (reader.TryRead(out var item))
            {
                if (item is string line)
                {
                    lines.Add(line);
                }
                else
                {
                    newest = (ProgressSnapshot)item;
                }
            }
            try
            {
                Write(lines, newest);
            }
            catch (IOException)
            {
                return; // Nobody reads stderr any more.
            }
            catch (ObjectDisposedException)
            {
                return;
            }
        }
        try
        {
            Clear();
            TellUnwritten();
            output.Flush();
        }
        catch (IOException)
        {
            // Nobody reads stderr any more.
        }
    }

    private void Write(List<string> lines, ProgressSnapshot? snapshot)
    {
        if (lines.Count > 0)
        {
            Clear();
            WriteLines(lines);
        }
        if (snapshot is null)
        {
            return;
        }
        if (style == ProgressStyle.Bars)
        {
            Clear();
            if (Describe(snapshot, width()) is { Length: > 0 } bars)
            {
                output.Write(bars);
                drawn = true;
            }
        }
        else if (clock.GetElapsedTime(lastLine) >= LineInterval)
        {
            lastLine = clock.GetTimestamp();
            foreach (var line in Sentences(snapshot))
            {
                output.WriteLine(line);
            }
        }
        output.Flush();
    }

    /// <summary>The words for one moment where nothing can be redrawn: one line per stage.</summary>
    internal static IEnumerable<string> Sentences(ProgressSnapshot snapshot) => snapshot.Waiting.Length > 0
        ? [snapshot.Waiting]
        : snapshot.Jobs.Where(static job => job.Elapsed >= DrawAfter).SelectMany(static job => job.Stages.Select(stage => string.Create(
            CultureInfo.InvariantCulture,
            $"job {job.JobId} stage {stage.StageId} ({stage.Name}): {stage.Done} of {stage.Total} tasks done, {stage.Running} running{(stage.Failed > 0 ? $", {stage.Failed} failed" : "")}, {job.Elapsed.TotalSeconds:0} s")));

    private void WriteLines(List<string> lines)
    {
        foreach (var line in lines)
        {
            if (clock.GetElapsedTime(burstStart) >= BurstInterval)
            {
                TellUnwritten();
                burstStart = clock.GetTimestamp();
                burst = 0;
            }
            if (++burst <= BurstLines)
            {
                output.WriteLine(line);
            }
            else
            {
                unwritten++;
            }
        }
    }

    private void TellUnwritten()
    {
        if (unwritten > 0)
        {
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"(and {unwritten} more lines, such as of short jobs)"));
            unwritten = 0;
        }
    }

    private void Clear()
    {
        if (drawn)
        {
            output.Write("\r\u001b[2K");
            drawn = false;
        }
    }
}
