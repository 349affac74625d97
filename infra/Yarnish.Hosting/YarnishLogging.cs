using System.Globalization;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Logging.Console;

namespace Yarnish.Hosting;

/// <summary>
/// Logging that every program shares: one line per event for people, one JSON object per line with <c>Logging:Console:FormatterName=json</c>; levels by
/// <c>Logging:LogLevel:…</c> as everywhere in .NET, <c>Information</c> by default and <c>Warning</c> for <c>Microsoft</c>, <c>System</c> and <c>MassTransit</c>.
/// </summary>
public static class YarnishLogging
{
    /// <summary>A factory for programs without a host. Dispose it last: that writes what is still queued.</summary>
    /// <param name="configuration">Where the section <c>Logging</c> is.</param>
    /// <param name="standardError">True writes everything to stderr, for programs whose stdout is their answer.</param>
    public static ILoggerFactory CreateFactory(IConfiguration configuration, bool standardError = false) =>
        LoggerFactory.Create(builder => builder.AddYarnishConsole(configuration, standardError));

    /// <summary>The same for hosts: replaces the providers that are there.</summary>
    /// <param name="builder">The host's logging.</param>
    /// <param name="configuration">Where the section <c>Logging</c> is.</param>
    /// <param name="standardError">True writes everything to stderr.</param>
    public static ILoggingBuilder AddYarnishConsole(this ILoggingBuilder builder, IConfiguration configuration, bool standardError = false)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(configuration);
        builder.ClearProviders();
        builder.SetMinimumLevel(LogLevel.Information);
        builder.AddFilter("Microsoft", LogLevel.Warning).AddFilter("System", LogLevel.Warning).AddFilter("MassTransit", LogLevel.Warning);
        builder.AddConfiguration(configuration.GetSection("Logging"));
        var formatter = configuration["Logging:Console:FormatterName"];
        builder.AddConsole(options =>
        {
            options.FormatterName = string.IsNullOrEmpty(formatter) ? OneLineFormatter.FormatterName : formatter;
            if (standardError)
            {
                options.LogToStandardErrorThreshold = LogLevel.Trace;
            }
        });
        builder.AddConsoleFormatter<OneLineFormatter, ConsoleFormatterOptions>();
        builder.Services.Configure<JsonConsoleFormatterOptions>(options =>
        {
            options.UseUtcTimestamp = true;
            options.TimestampFormat = "O";
        });
        return builder;
    }
}

/// <summary>
/// <c>12:01:02.123 warn  ResourceManager: text</c>, exceptions indented below. The category is its last part: people know the program they look at.
/// </summary>
internal sealed class OneLineFormatter() : ConsoleFormatter(FormatterName)
{
    public const string FormatterName = "yarnish";

    public override void Write<TState>(in LogEntry<TState> logEntry, IExternalScopeProvider? scopeProvider, TextWriter textWriter)
    {
        var level = logEntry.LogLevel switch
        {
            LogLevel.Trace => "trace",
            LogLevel.Debug => "debug",
            LogLevel.Information => "info ",
            LogLevel.Warning => "warn ",
            LogLevel.Error => "error",
            _ => "fatal",
        };
        var category = logEntry.Category.AsSpan();
        textWriter.Write(TimeProvider.System.GetUtcNow().ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture));
        textWriter.Write(' ');
        textWriter.Write(level);
        textWriter.Write(' ');
        textWriter.Write(category[(category.LastIndexOf('.') + 1)..]);
        textWriter.Write(": ");
        textWriter.WriteLine(logEntry.Formatter(logEntry.State, logEntry.Exception).ReplaceLineEndings(" "));
        if (logEntry.Exception is { } error)
        {
            foreach (var line in error.ToString().AsSpan().EnumerateLines())
            {
                textWriter.Write("    ");
                textWriter.WriteLine(line);
            }
        }
    }
}
