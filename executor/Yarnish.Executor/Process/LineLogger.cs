using System.Globalization;
using Microsoft.Extensions.Logging;

namespace Yarnish.Executor;

/// <summary>
/// Logs to stdout, one line per event in the format of Yarnish.Hosting. A factory with providers, options and a background queue would cost a fifth of the start; an executor
/// logs little, and what it logged last must be there when it is killed.
/// </summary>
internal sealed class LineLogger(LogLevel lowest, TextWriter output, TimeProvider time, TextWriter? lastWords = null) : ILogger
{
    private readonly Lock gate = new();

    /// <summary>Level by <c>Logging__LogLevel__Default</c>; Information when it is not set.</summary>
    public static LineLogger ToConsole() =>
        new(
            Enum.TryParse<LogLevel>(Environment.GetEnvironmentVariable("Logging__LogLevel__Default"), ignoreCase: true, out var level) ? level : LogLevel.Information,
            Console.Out,
            TimeProvider.System,
            Console.Error);

    /// <inheritdoc/>
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    /// <inheritdoc/>
    public bool IsEnabled(LogLevel logLevel) => logLevel >= lowest && logLevel != LogLevel.None;

    /// <inheritdoc/>
    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        if (!IsEnabled(logLevel))
        {
            return;
        }
        var level = logLevel switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info ",
            LogLevel.Warning => "warn ",
            LogLevel.Error => "error",
            _ => "fatal",
        };
        var line = $"{time.GetUtcNow().ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture)} {level} Executor: {formatter(state, exception).ReplaceLineEndings(" ")}";
        lock (gate)
        {
            output.WriteLine(line);
            if (exception is not null)
            {
                foreach (var part in exception.ToString().AsSpan().EnumerateLines())
                {
                    output.Write("    ");
                    output.WriteLine(part);
                }
            }
            output.Flush();
            if (logLevel == LogLevel.Critical)
            {
                // The agent puts the end of stderr into the diagnostics of the exit: there the driver and its user read why.
                lastWords?.WriteLine(line);
                lastWords?.Flush();
            }
        }
    }
}
