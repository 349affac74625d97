using System.Collections.Immutable;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Runtime;
using System.Runtime.InteropServices;
using Yarnish.Progress;
using Yarnish.Protocol;
using Yarnish.Status;

namespace Yarnish;

/// <content>The status of the application: kept, logged and served.</content>
public sealed partial class YarnishSession
{
    /// <summary>Starts to keep the status, and to log and serve it as the settings say.</summary>
    /// <exception cref="YarnishConnectException">It cannot be served where the settings say.</exception>
    private static StatusKeeper StartStatus(ApplicationId application, YarnishOptions options, TimeProvider clock, ProgressDisplay display, List<IAsyncDisposable> owned, out string url)
    {
        EventLogWriter? log = null;
        if (EventLogDirectory(options) is { } common)
        {
            log = new EventLogWriter(EventLogs.DirectoryOf(common, application), application, clock, display.Line);
            _ = Task.Run(() => EventLogs.Prune(common, clock.GetUtcNow()));
        }
        var status = new StatusKeeper(log, clock, display.Enabled ? stage => TellVerdict(stage, display) : null);
        owned.Add(status);
        status.Post(new StatusEvent.ApplicationStarted(clock.GetUtcNow(), application, options.Name, Environment.UserName, DriverName(), Version(), options.Address));
        status.Post(new StatusEvent.EnvironmentKnown(clock.GetUtcNow(), RuntimeFacts(), SettingsOf(options)));
        url = "";
        if (options.StatusUrl == "off" || (options.StatusUrl.Length == 0 && options.Address.Length == 0))
        {
            return status;
        }
        try
        {
            var server = StatusServer.Start(
                options.StatusUrl.Length > 0 ? options.StatusUrl : "http://127.0.0.1:0",
                [ClusterSecret.ApplicationToken(options.Secret, application), ClusterSecret.ApiToken(options.Secret)],
                status.AskAsync);
            owned.Add(server);
            url = server.Url;
        }
        catch (Exception error) when (error is HttpListenerException or ArgumentException or PlatformNotSupportedException or SocketException)
        {
            if (options.StatusUrl.Length > 0)
            {
                throw YarnishConnectException.Because(
                    $"The status cannot be served at {options.StatusUrl}.", error.Message, "change Yarnish:StatusUrl, or set it to 'off'", error, exitCode: 2);
            }
            display.Line($"warning: the status is not served: {error.Message}");
        }
        return status;
    }

    /// <summary>Where event logs go; null when nowhere.</summary>
    private static string? EventLogDirectory(YarnishOptions options) => options.EventLog switch
    {
        "off" => null,
        "" when options.Address.Length == 0 => null,
        "" or "on" => EventLogs.DefaultDirectory,
        var directory => Path.GetFullPath(directory),
    };

    /// <summary>A line for a stage about which something is to be said; why it failed its job says already.</summary>
    private static void TellVerdict(StageInfo stage, ProgressDisplay display)
    {
        if (stage.Verdict.Kind is not (StageVerdictKind.Healthy or StageVerdictKind.TooEarly or StageVerdictKind.Failed))
        {
            display.Line($"stage {stage.Id} ({stage.Name}): {stage.Verdict.Text}");
        }
    }

    private static string DriverName() => string.Create(CultureInfo.InvariantCulture, $"{Environment.MachineName}/{Environment.ProcessId}");

    private static string Version() => typeof(YarnishSession).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    private static ImmutableSortedDictionary<string, string> RuntimeFacts() => new Dictionary<string, string>
    {
        ["framework"] = RuntimeInformation.FrameworkDescription,
        ["runtimeIdentifier"] = RuntimeInformation.RuntimeIdentifier,
        ["operatingSystem"] = RuntimeInformation.OSDescription,
        ["machine"] = Environment.MachineName,
        ["processors"] = Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture),
        ["serverGarbageCollection"] = GCSettings.IsServerGC ? "true" : "false",
        ["program"] = Assembly.GetEntryAssembly()?.GetName().Name ?? "",
        ["commandLine"] = Redaction.OfArguments(Environment.GetCommandLineArgs()),
        ["directory"] = Environment.CurrentDirectory,
    }.ToImmutableSortedDictionary(StringComparer.Ordinal);

    /// <summary>Every setting by the name of its key, without the secrets.</summary>
    internal static ImmutableSortedDictionary<string, string> SettingsOf(YarnishOptions options)
    {
        var settings = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        foreach (var property in typeof(YarnishOptions).GetProperties(BindingFlags.Instance | BindingFlags.Public))
        {
            if (property.Name == nameof(YarnishOptions.ExecutorEnvironment))
            {
                foreach (var (name, value) in options.ExecutorEnvironment)
                {
                    settings[$"{property.Name}:{name}"] = Redaction.Of(name, value);
                }
                continue;
            }
            settings[property.Name] = Redaction.Of(property.Name, Convert.ToString(property.GetValue(options), CultureInfo.InvariantCulture) ?? "");
        }
        return settings.ToImmutable();
    }
}
