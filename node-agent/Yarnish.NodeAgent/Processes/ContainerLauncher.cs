using System.Collections;
using System.Collections.Immutable;
using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using Yarnish.NodeAgent.Node;
using Yarnish.Protocol;

namespace Yarnish.NodeAgent.Processes;

/// <summary>A command could not be started. The message is for people.</summary>
internal sealed class LaunchException(string message) : Exception(message);

/// <summary>Starts the command of a container under <c>launch.sh</c>, in a session of its own.</summary>
internal sealed class ContainerLauncher
{
    private readonly NodeAgentOptions _options;
    private readonly DataDirectory _directory;
    private readonly RecordStore _records;
    private readonly ContainerCgroups _cgroups;
    private readonly string _script;
    private readonly KeyValuePair<string, string>[] _passed;
    private readonly string _setsid;

    /// <exception cref="AgentStartException">This machine lacks a program that launching needs.</exception>
    public ContainerLauncher(NodeAgentOptions options, DataDirectory directory, RecordStore records, ContainerCgroups cgroups)
    {
        _options = options;
        _directory = directory;
        _records = records;
        _cgroups = cgroups;
        _script = LaunchScript.Install(directory.Run);
        _passed = [.. Passed(options.PassEnvironment)];
        var path = Environment.GetEnvironmentVariable("PATH");
        _setsid = OnPath("setsid", path) ?? throw new AgentStartException(
            AgentExitCode.Usage, "The program 'setsid' is not on PATH; containers are started with it. Install util-linux (Debian, Red Hat) or busybox (Alpine).");
    }

    /// <summary>Starts the command; the launcher tells through the records what becomes of it.</summary>
    /// <param name="launch">What.</param>
    /// <param name="nodeUrl">Base URL of this agent.</param>
    /// <param name="traceParent">W3C trace context for the container; empty when not traced.</param>
    /// <exception cref="LaunchException">The command or its environment is not acceptable.</exception>
    public void Start(LaunchContainer launch, string nodeUrl, string traceParent)
    {
        var work = _directory.Work(launch.ApplicationId, launch.ContainerId);
        var logs = _directory.ContainerLogs(launch.ApplicationId, launch.ContainerId);
        Directory.CreateDirectory(work);
        Directory.CreateDirectory(logs);
        Directory.CreateDirectory(_directory.Blocks(launch.ApplicationId));

        var environment = EnvironmentOf(launch, nodeUrl, traceParent);
        var command = Resolve(launch.Launch.Command, work, environment.GetValueOrDefault("PATH"));
        var start = new ProcessStartInfo(_setsid) { UseShellExecute = false, WorkingDirectory = work };
        foreach (var argument in (string[])["/bin/sh", _script, _records.Prefix(launch.ContainerId), work, logs, _cgroups.Create(launch.ContainerId, launch.Resources), command])
        {
            start.ArgumentList.Add(argument);
        }
        foreach (var argument in launch.Launch.Arguments.IsDefault ? [] : launch.Launch.Arguments)
        {
            start.ArgumentList.Add(argument ?? "");
        }
        start.Environment.Clear();
        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }
        try
        {
            // Not waited for here: whether it is our child or that of an earlier incarnation, it reports through files.
            using var launcher = Process.Start(start);
        }
        catch (Win32Exception error)
        {
            throw new LaunchException(
                $"The command '{launch.Launch.Command}' could not be started: {error.Message}. Its arguments and environment may be too long for the system, or the machine is out of processes.");
        }
    }

    /// <summary>Every variable a container gets.</summary>
    internal SortedDictionary<string, string> EnvironmentOf(LaunchContainer launch, string nodeUrl, string traceParent)
    {
        var environment = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (name, value) in _passed)
        {
            environment[name] = value;
        }
        foreach (var (name, value) in launch.Launch.Environment ?? ImmutableSortedDictionary<string, string>.Empty)
        {
            if (!IsVariableName(name) || value is null || value.Contains('\0'))
            {
                throw new LaunchException($"Environment variable '{name}' is refused: a name has letters, digits and underscores and does not start with a digit, and a value has no NUL.");
            }
            environment[name] = value;
        }
        environment[ContainerEnvironment.ContainerId] = launch.ContainerId.Value;
        environment[ContainerEnvironment.ApplicationId] = launch.ApplicationId.Value;
        environment[ContainerEnvironment.NodeId] = _options.NodeId;
        environment[ContainerEnvironment.NodeUrl] = nodeUrl;
        environment[ContainerEnvironment.BlockDirectory] = _directory.Blocks(launch.ApplicationId);
        environment[ContainerEnvironment.PostMortem] = _directory.PostMortem(launch.ApplicationId, launch.ContainerId);
        environment[ContainerEnvironment.MemoryBytes] = launch.Resources.MemoryBytes.ToString(CultureInfo.InvariantCulture);
        environment[ContainerEnvironment.MilliCores] = launch.Resources.MilliCores.ToString(CultureInfo.InvariantCulture);
        if (launch.Devices is { Length: > 0 } devices)
        {
            environment[ContainerEnvironment.Devices] = devices;
        }
        if (traceParent.Length > 0)
        {
            environment["TRACEPARENT"] = traceParent;
        }
        return environment;
    }

    /// <summary>The program a command means: a path with a slash is relative to the working directory, a plain name is looked up on PATH, then in the working directory.</summary>
    internal static string Resolve(string command, string work, string? path)
    {
        if (string.IsNullOrWhiteSpace(command) || command.Contains('\0'))
        {
            throw new LaunchException("The launch command names no program.");
        }
        if (command.Contains('/'))
        {
            var full = Path.GetFullPath(Path.Combine(work, command));
            return File.Exists(full) switch
            {
                false => throw new LaunchException($"The program '{command}' does not exist on this node (looked at {full})."),
                true when !IsExecutable(full) => throw new LaunchException($"The program '{command}' is not executable. List it among the files with Executable set."),
                _ => full,
            };
        }
        return OnPath(command, path) ?? (IsExecutable(Path.Combine(work, command))
            ? Path.Combine(work, command)
            : throw new LaunchException($"The program '{command}' is neither on PATH ({path}) nor an executable file of the container. Install it on the node or ship it with the application."));
    }

    private static string? OnPath(string program, string? path) =>
        (path ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Where(Path.IsPathRooted)
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(IsExecutable);

    private static bool IsExecutable(string file) =>
        File.Exists(file) && (File.GetUnixFileMode(file) & (UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute)) != 0;

    // A shell passes on only such variables.
    private static bool IsVariableName(string name) =>
        name.Length > 0 && !char.IsAsciiDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c == '_');

    private static IEnumerable<KeyValuePair<string, string>> Passed(string list)
    {
        var names = list.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
        {
            var name = (string)variable.Key;
            if (IsVariableName(name) && names.Any(wanted => wanted.EndsWith('*') ? name.StartsWith(wanted[..^1], StringComparison.Ordinal) : name == wanted))
            {
                yield return KeyValuePair.Create(name, (string)variable.Value!);
            }
        }
    }
}
